"""What the diffusion models have in common: a denoising network, labels left out, noise of each row."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.contrib.module import eqx_module

from ppgen.models.checks import check_fraction, check_labels, check_levels, check_shape
from ppgen.models.networks.denoiser import Denoiser, Networks, denoiser, each_row
from ppgen.models.numpyro_family import NumPyroFamily

__all__ = ["DiffusionFamily", "default_network"]

IMAGE = 8  # height and width from which rows with two sides are taken for images
SIZES: Mapping[str, tuple[int, int]] = {"mlp": (256, 3), "unet": (32, 2)}  # width and depth by default


class DiffusionFamily(NumPyroFamily, ABC):
    """A model that learns to undo noise, by one network for all amounts of it.

    A member says what the network reads and returns, how rows are drawn with it, and how likely they are.

    With ``classes``, labels are left out of a share of the training rows, so that the same network also knows
    rows of any class. Sampling with ``guidance`` above 1 goes further from those than the class alone would.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        config: the member's own settings.
        objectives: what can train it, the default first.
        inputs, outputs: how many numbers an entry the network reads and returns.
        network, width, depth, dropout: of the network; by default what suits the shape.
        classes: how many classes the rows have, for a model of rows given their class.
        label_dropout: the share of training rows whose label is left out.
        seed: seed of the initial weights.

    References:
        Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598.
    """

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        config: Mapping[str, Any],
        objectives: tuple[str, ...],
        *,
        inputs: int = 1,
        outputs: int = 1,
        network: Networks | None,
        width: int | None,
        depth: int | None,
        dropout: float,
        classes: int | None,
        label_dropout: float,
        seed: int,
    ) -> None:
        shape = check_shape(shape)
        kind = network or default_network(shape)
        usual = SIZES.get(kind, (0, 0))
        sizes = {"width": usual[0] if width is None else width, "depth": usual[1] if depth is None else depth}
        self.label_dropout = check_fraction("label_dropout", label_dropout)
        settings = {
            **config,
            "network": kind,
            **sizes,
            "dropout": dropout,
            "label_dropout": label_dropout,
            "seed": seed,
        }
        super().__init__(shape, check_levels(levels), settings, objectives, classes=classes)
        self.network = denoiser(
            kind,
            shape,
            inputs=inputs,
            outputs=outputs,
            **sizes,
            dropout=dropout,
            classes=self.classes,
            seed=seed,
        )

    @abstractmethod
    def outputs(self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """What the network says of noisy rows ``z (n, *shape)`` at times ``t (n,)``, or at one time ``()``.

        Args:
            z, t: the rows, and how far they are on the way to noise.
            label: the class of each row ``(n,)``; ``None`` for "not told".
            key: for dropout, in training.
        """

    def guided(self, z: jax.Array, t: jax.Array, label: Any, guidance: float, key: Any = None) -> jax.Array:
        r"""Outputs that overstate what the class changes, :math:`f_\emptyset + g \, (f_y - f_\emptyset)`."""
        if label is None or guidance == 1:
            return self.outputs(z, t, label, key)
        anyhow = self.outputs(z, t, None, key)
        return anyhow + guidance * (self.outputs(z, t, label, key) - anyhow)

    def standard_rows(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Rows to train with ``(n, *shape)``, standardised; the key is for noise that a member may add."""
        return self.as_input(x)

    def some_labels(self, label: Any, key: jax.Array) -> Any:
        """Labels ``(n,)`` to train with: some of them are told as "not told"."""
        if label is None or self.classes is None:
            return label
        hidden = jax.random.bernoulli(key, self.label_dropout, label.shape)
        return jnp.where(hidden, self.classes, label)

    def random_times(self, key: jax.Array, n: int) -> jax.Array:
        """Times ``(n,)`` in [0, 1], each uniform, that any of the rows in sequence share evenly.

        Steps of the golden ratio from a random start: the gaps between the first k are alike for every k.
        """
        golden = jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(2654435769)  # of 2^32, where integers wrap
        return (jax.random.uniform(key) + golden.astype(jnp.float32) * 2.0**-32) % 1

    def call_network(self, inputs: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """The network's outputs ``(n, *shape, outputs)`` for inputs ``(n, *shape, inputs)``."""
        if self.classes is not None and label is None:
            label = jnp.full(len(inputs), self.classes)  # not told
        keys = None if key is None else jax.random.split(key, len(inputs))
        if isinstance(self.network, Denoiser):
            return self.network.rows(inputs, t, label, keys)
        return each_row(self.network, inputs, t, label, keys)  # of the user's own

    def registered(self) -> Any:
        """This family, with its network known to NumPyro: what the program computes with."""
        return self.with_network(eqx_module("network", self.network))

    def expanded(self, values: jax.Array) -> jax.Array:
        """One number a row ``(n,)``, or for all rows ``()``, as an array that broadcasts against rows."""
        return values if values.ndim == 0 else values.reshape(-1, *(1,) * len(self.shape))

    def _noisy_scores(
        self, x: Any, score: Callable[..., jax.Array], label: Any, seed: int, **passes: Any
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Noisy log densities ``(n, draws)`` of each row by ``score(family, rows, seeds)``.

        With classes ``score`` has a further argument, the labels; where none are given the result is
        ``(classes, n, draws)``, with the log weights of the classes ``(classes, 1, 1)``. A row's noise comes
        from the row and the seed alone, whatever rows are beside it; it is the same for all classes.
        ``passes`` are the options of :meth:`_chunked`.
        """
        rows, labels = self.rows(x), check_labels(label, self.classes, len(x))
        hashes = [zlib.crc32(np.ascontiguousarray(row).tobytes(), seed) for row in np.asarray(rows)]
        seeds = jnp.asarray(np.array(hashes, np.uint32))
        compiled = self._compiled(score)
        if self.classes is None:
            return self._chunked(compiled, rows, seeds, **passes), None
        if labels is not None:
            return self._chunked(compiled, rows, seeds, jnp.asarray(labels), **passes), None
        all_of = [jnp.full(len(rows), y) for y in range(self.classes)]
        each = np.stack([self._chunked(compiled, rows, seeds, labels, **passes) for labels in all_of])
        with np.errstate(divide="ignore"):  # a class that training never saw has no weight
            return each, np.log(self.class_weights.astype(np.float64))[:, None, None]

    def _mean_score(
        self, x: Any, score: Callable[..., jax.Array], label: Any, seed: int, **passes: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean of noisy bounds on each row's log density, and its standard error, each ``(n,)``.

        Where no label is given, the classes are summed out, and the mean stays a bound.
        """
        draws, log_weights = self._noisy_scores(x, score, label, seed, **passes)
        if log_weights is not None:
            draws = _without_class(draws, log_weights)
        return draws.mean(-1), draws.std(-1, ddof=1) / np.sqrt(draws.shape[-1])


def default_network(shape: tuple[int, ...]) -> Networks:
    """Convolutions for images of at least 8x8, else a multilayer perceptron."""
    return "unet" if len(shape) in (2, 3) and min(shape[:2]) >= IMAGE else "mlp"


def _without_class(draws: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    r"""Noisy bounds ``(n, draws)`` on :math:`\log \sum_y \pi_y p(x \mid y)`.

    :math:`\sum_y r_y (b_y + \log \pi_y - \log r_y)` is a bound for any shares r. The best are in proportion
    to :math:`\pi_y e^{b_y}`; each half of the draws takes its shares from the other half, so that the noise
    in the shares has nothing to do with that in the bounds, and does not flatter their mean.
    """
    half = draws.shape[-1] // 2
    parts = draws[..., :half], draws[..., half:]
    bounds = []
    for part, other in (parts, parts[::-1]):
        best = other.mean(-1, keepdims=True) + log_weights  # (classes, n, 1)
        log_shares = best - np.logaddexp.reduce(best, axis=0)
        shares = np.exp(log_shares)
        gain = np.where(shares > 0, part + log_weights - log_shares, 0.0)
        bounds.append((shares * gain).sum(0))
    return np.concatenate(bounds, axis=-1)
