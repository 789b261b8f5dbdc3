"""Conditionals from a network's outputs: a categorical for levels, a Gaussian mixture for continuous data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from ppgen.checks import check_integer, check_number
from ppgen.errors import InvalidArgument

__all__ = ["Levels", "Numbers", "Sharpening"]


@dataclass(frozen=True)
class Sharpening:
    """How draws modify the learned conditionals; by default not at all.

    Args:
        temperature: below 1 sharpens each conditional, above 1 flattens it.
        top_k: keep only the k likeliest values of each conditional.
        top_p: keep only the likeliest values that together reach this probability.

    Raises:
        InvalidArgument: if one is out of range.

    References:
        Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2019, arXiv:1904.09751 (top-p).
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0.0, example=0.8)
        if self.top_k is not None:
            check_integer("top_k", self.top_k)
        check_number("top_p", self.top_p, above=0.0, most=1.0, example=0.95)

    def conditional(self, levels: int | None) -> Any:
        """The map from outputs to a distribution: :class:`Levels` or, without levels, :class:`Numbers`.

        Raises:
            InvalidArgument: if top_k or top_p is given for continuous data.
        """
        if levels is not None:
            return Levels(self)
        if self.top_k is not None or self.top_p != 1:
            raise InvalidArgument(
                "top_p" if self.top_k is None else "top_k",
                got="a cut of continuous values",
                expected="a model with levels",
                fix="Leave top_k and top_p out; temperature sharpens continuous values too.",
            )
        return Numbers(self.temperature)


@dataclass(frozen=True)
class Levels:
    """Logits ``(..., levels)`` become a categorical: sharpened by the temperature, then cut.

    Example:
        >>> halved = Levels(Sharpening(top_k=2))(torch.tensor([0.4, 0.4, 0.2]).log())
        >>> halved.probs
        tensor([0.5000, 0.5000, 0.0000])
    """

    sharpening: Sharpening

    def __call__(self, logits: Tensor) -> Categorical:
        """The distribution with batch shape ``(...)``."""
        top_k, top_p = self.sharpening.top_k, self.sharpening.top_p
        logits = logits / self.sharpening.temperature
        if top_k is not None and top_k < logits.shape[-1]:
            least_kept = logits.topk(top_k).values[..., -1:]
            logits = logits.masked_fill(logits < least_kept, -torch.inf)
        if top_p < 1:
            ordered, order = logits.softmax(-1).sort(-1, descending=True)
            # A value is kept while the likelier ones have not reached p yet, so that one is always kept.
            cut = (ordered.cumsum(-1) - ordered >= top_p).gather(-1, order.argsort(-1))
            logits = logits.masked_fill(cut, -torch.inf)
        return Categorical(logits=logits, validate_args=False)


@dataclass(frozen=True)
class Numbers:
    """Outputs ``(..., 3 * components)`` become a mixture of Gaussians, each component tempered on its own."""

    temperature: float = 1.0

    def __call__(self, outputs: Tensor) -> MixtureSameFamily:
        """The distribution with batch shape ``(...)``."""
        logits, loc, log_scale = outputs.chunk(3, -1)  # each (..., components)
        scale = (
            log_scale.clamp(-7, 7).exp() * self.temperature**0.5
        )  # no component can collapse onto a data point
        return MixtureSameFamily(
            Categorical(logits=logits / self.temperature, validate_args=False),
            Normal(loc, scale, validate_args=False),
            validate_args=False,
        )
