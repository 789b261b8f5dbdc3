"""The transformer as an autoregressive model: exact, one conditional at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_fraction, check_positive
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.autoregressive import Autoregressive
from ppgen.models.networks.transformer import Decoder, value_embedding
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.program.likelihood import Likelihood

__all__ = ["Transformer"]


class Transformer(PyroFamily):
    r"""A decoder-only transformer over the entries of a row, in reading order.

    .. math:: p(x) = \prod_{t=1}^{d} p(x_t \mid x_{<t})

    With ``levels`` each conditional is a categorical; without, a mixture of Gaussians.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        width, layers, heads: the transformer's size; the width is a multiple of the heads.
        dropout: on the embeddings and residual branches, in training.
        components: Gaussians in each conditional of continuous data.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        van den Oord, Kalchbrenner and Kavukcuoglu, *Pixel Recurrent Neural Networks*, 2016, arXiv:1601.06759;
        Chen et al., *Generative Pretraining from Pixels*, ICML 2020.

    Example:
        >>> coins = Transformer((2,), levels=2, width=8, layers=1, heads=2)
        >>> ll = coins.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 5)
        ('exact', 1.0)
        >>> coins.sample(100, seed=0).shape
        (100, 2)
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        width: int = 64,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        components: int = 8,
        seed: int = 0,
    ) -> None:
        config = {
            "width": check_positive("width", width),
            "layers": check_positive("layers", layers),
            "heads": check_positive("heads", heads),
            "dropout": check_fraction("dropout", dropout),
            "components": check_positive("components", components),
            "seed": seed,
        }
        _check_heads(width, heads)
        super().__init__(shape, levels, config, objectives=("likelihood",))
        with seeded(seed):
            self.network = Decoder(
                value_embedding(levels, width),
                self.shape,
                levels or 3 * components,
                width=width,
                layers=layers,
                heads=heads,
                dropout=dropout,
            )
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: one site ``x``, whose distribution is the chain rule.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            return pyro.sample("x", self.density(), obs=x)  # (n, *shape)

    def density(
        self, *, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
    ) -> PyroDistribution:
        """The distribution of one row; the arguments, and their errors, are those of :meth:`sample`."""
        _check_choice(self.levels, temperature, top_k, top_p)
        if self.levels is not None:
            return Autoregressive(self.network, _Categorical(temperature, top_k, top_p), self.shape)
        return self.in_data_units(Autoregressive(self.network, _GaussianMixture(temperature), self.shape))

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            temperature: below 1 sharpens each conditional, above 1 flattens it.
            top_k: keep only the k likeliest values of each conditional.
            top_p: keep only the likeliest values that together reach this probability.

        Raises:
            InvalidArgument: if one is out of range, or top_k or top_p is asked of continuous data.

        References:
            Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2019, arXiv:1904.09751 (top-p).
        """
        density = self.density(temperature=temperature, top_k=top_k, top_p=top_p)
        return self._draw(n, seed, lambda size: density.sample((size,)))

    def log_prob(self, x: Any) -> Likelihood:
        """The exact log density of each row of ``x (n, *shape)``."""
        values = self._score(x, self.density().log_prob)
        return Likelihood(values, "exact", self.space, self.dims, how="chain rule")


@dataclass(frozen=True)
class _Categorical:
    """Logits become a categorical: sharpened by the temperature first, then cut to top k and top p."""

    temperature: float
    top_k: int | None
    top_p: float

    def __call__(self, logits: Tensor) -> Categorical:
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            least_kept = logits.topk(self.top_k).values[..., -1:]
            logits = logits.masked_fill(logits < least_kept, -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.softmax(-1).sort(-1, descending=True)
            # A value is kept while the likelier ones have not reached p yet, so that one is always kept.
            cut = (ordered.cumsum(-1) - ordered >= self.top_p).gather(-1, order.argsort(-1))
            logits = logits.masked_fill(cut, -torch.inf)
        return Categorical(logits=logits, validate_args=False)


@dataclass(frozen=True)
class _GaussianMixture:
    """Outputs become a mixture of Gaussians, each component tempered on its own."""

    temperature: float

    def __call__(self, outputs: Tensor) -> MixtureSameFamily:
        logits, loc, log_scale = outputs.chunk(3, -1)  # each (..., components)
        scale = log_scale.clamp(-7, 7).exp() * self.temperature**0.5  # no component can shrink onto a row
        return MixtureSameFamily(
            Categorical(logits=logits / self.temperature, validate_args=False),
            Normal(loc, scale, validate_args=False),
            validate_args=False,
        )


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise InvalidArgument(
            "width",
            got=f"{width} with heads={heads}",
            expected="a multiple of heads",
            fix=f"Write width={heads * max(1, round(width / heads))}.",
        )


def _check_choice(levels: int | None, temperature: float, top_k: int | None, top_p: float) -> None:
    if not temperature > 0:
        raise InvalidArgument(
            "temperature", got=repr(temperature), expected="a positive number", fix="Write temperature=0.8."
        )
    if levels is None and (top_k is not None or top_p != 1):
        raise InvalidArgument(
            "top_p" if top_k is None else "top_k",
            got="a cut of continuous values",
            expected="a model with levels",
            fix="Leave top_k and top_p out; temperature sharpens continuous values too.",
        )
    if top_k is not None:
        check_positive("top_k", top_k)
    if not 0 < top_p <= 1:
        expected = "a number in (0, 1]"
        raise InvalidArgument("top_p", got=repr(top_p), expected=expected, fix="Write top_p=0.95.")
