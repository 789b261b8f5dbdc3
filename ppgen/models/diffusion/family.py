"""The base of the diffusion models: a denoising network, label dropout, and per-example noise."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_number
from ppgen.kernels.monte_carlo import standard_error
from ppgen.models.family import CLASSES
from ppgen.models.networks.denoiser import Denoiser, Networks, denoiser, each_row
from ppgen.models.pytree_family import PytreeFamily, PytreeProgram, draw_rows, in_chunks
from ppgen.models.settings import setting

__all__ = ["DiffusionFamily", "DiffusionProgram", "default_network"]

IMAGE = 8  # height and width from which rows with two sides are taken for images
SIZES: Mapping[str, tuple[int, int]] = {"mlp": (256, 3), "unet": (32, 2)}  # width and depth by default


class DiffusionProgram(PytreeProgram):
    """A program that denoises, with one network for all noise levels.

    A subclass defines what the network reads and returns.

    Attributes:
        label_dropout: the share of training examples whose label is left out.
    """

    label_dropout: float = eqx.field(static=True)

    @abstractmethod
    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: rows ``x`` of classes ``label (n,)`` are observed, or else n are sampled."""

    @abstractmethod
    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: what hides the rows ``x (n, *shape)``."""

    @abstractmethod
    def outputs(self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """The network's outputs for noisy rows ``z (n, *shape)`` at times ``t (n,)``, or at one time ``()``.

        Args:
            z, t: the rows, and how far they are on the way to noise.
            label: the class of each example ``(n,)``; ``None`` for the unconditional model.
            key: for dropout, in training.
        """

    def guided(self, z: jax.Array, t: jax.Array, label: Any, guidance: float, key: Any = None) -> jax.Array:
        r"""Outputs with the class effect scaled, :math:`f_\emptyset + g \, (f_y - f_\emptyset)`."""
        if label is None or guidance == 1:
            return self.outputs(z, t, label, key)
        unconditional = self.outputs(z, t, None, key)
        return unconditional + guidance * (self.outputs(z, t, label, key) - unconditional)

    def standard_rows(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Rows to train with ``(n, *shape)``, standardised; the key is for noise that a member may add."""
        return self.as_input(x)

    def some_labels(self, label: Any, key: jax.Array) -> Any:
        """Labels ``(n,)`` to train with, some of them replaced by the unconditional one."""
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
            label = jnp.full(len(inputs), self.classes)  # the unconditional one
        keys = None if key is None else jax.random.split(key, len(inputs))
        if isinstance(self.network, Denoiser):
            return self.network.rows(inputs, t, label, keys)
        return each_row(self.network, inputs, t, label, keys)  # of the user's own

    def expanded(self, values: jax.Array) -> jax.Array:
        """One number per example ``(n,)``, or for all ``()``, reshaped to broadcast against examples."""
        return values if values.ndim == 0 else values.reshape(-1, *(1,) * len(self.shape))


class DiffusionFamily(PytreeFamily):
    """Base of the diffusion families: one network that denoises at all noise levels.

    A subclass defines sampling and the log density. With ``classes``, labels are left out of a share of the
    training examples, so that the same network is also an unconditional model. ``guidance`` above 1 moves
    samples further from it than the class alone would.

    References:
        Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598.
    """

    network: Networks = setting(
        factory=lambda chosen: default_network(chosen.shape),
        doc="``unet`` for images of at least 8x8, ``mlp`` for other rows, by default",
    )
    width: int = setting(
        factory=lambda chosen: SIZES[chosen.network][0],
        doc="of its hidden layers, or channels at the full resolution; by default 256 and 32",
    )
    depth: int = setting(
        factory=lambda chosen: SIZES[chosen.network][1],
        doc="how many residual blocks, or how many times height and width are halved; by default 3 and 2",
    )
    dropout: float = setting(default=0.1, least=0.0, below=1.0, doc="within each block, in training")
    classes: int | None = CLASSES
    label_dropout: float = setting(
        default=0.1, least=0.0, below=1.0, doc="the share of training examples whose label is left out"
    )

    def _denoiser(self, inputs: int = 1, outputs: int = 1) -> Denoiser:
        """A network that reads and returns so many numbers per entry."""
        chosen = self.settings
        return denoiser(
            chosen.network,
            self.shape,
            inputs=inputs,
            outputs=outputs,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
            classes=self.classes,
            seed=self.seed,
        )

    def _begin(self, program: type[DiffusionProgram], network: Denoiser, **fields: Any) -> None:
        """Store an untrained program."""
        self.program = program.initial(
            network, self.shape, self.levels, self.classes, label_dropout=self.label_dropout, **fields
        )

    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: rows ``x`` of classes ``label (n,)`` are observed, or else n are sampled."""
        return self.program.model(x, n, label)

    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: what hides the rows ``x (n, *shape)``."""
        return self.program.guide(x, label)

    def _draw(
        self,
        n: int,
        seed: int,
        draw: Callable[..., jax.Array],
        label: Any,
        guidance: float,
        **settings: Any,
    ) -> np.ndarray:
        """Draw examples ``(n, *shape)`` by ``draw(program, key, size, label, guidance=..., **settings)``."""
        guidance = check_number("guidance", guidance, least=0.0, example=1.0)
        return draw_rows(self.program, n, seed, draw, label, guidance=guidance, **settings)

    def _noisy_scores(
        self,
        x: Any,
        score: Callable[..., jax.Array],
        label: Any,
        seed: int,
        *,
        passes: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Noisy log densities ``(n, draws)`` of each example by ``score(program, rows, seeds, **settings)``.

        With classes ``score`` has a further argument, the labels; where none are given the result is
        ``(classes, n, draws)``, with the log weights of the classes ``(classes, 1, 1)``. A row's noise comes
        from the row and the seed alone, whatever rows are next to it; it is the same for all classes.
        ``passes`` are the options of :func:`in_chunks`.
        """
        rows = self.rows(x)
        hashes = [zlib.crc32(np.ascontiguousarray(row).tobytes(), seed) for row in np.asarray(rows)]
        seeds = np.array(hashes, np.uint32)

        def compiled(*chunk: Any) -> jax.Array:
            return score(self.program, *chunk, **settings)

        def by_labels(labels: np.ndarray | None) -> np.ndarray:
            arrays = (rows, seeds) if labels is None else (rows, seeds, labels)
            return in_chunks(compiled, *arrays, **passes or {})

        return self._per_class(by_labels, label, len(x))

    def _mean_score(
        self, x: Any, score: Callable[..., jax.Array], label: Any, seed: int, **settings: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean of noisy bounds on each example's log density, and its standard error, each ``(n,)``.

        Where no label is given, the classes are marginalised, and the mean stays a bound.
        """
        draws, log_weights = self._noisy_scores(x, score, label, seed, **settings)
        if log_weights is not None:
            draws = _without_class(draws, log_weights)
        return draws.mean(-1), standard_error(draws)


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
