"""Likelihoods of a decoder: one small module each.

Each maps outputs ``(n, *shape, numbers)`` to a distribution with event shape ``shape``, in levels
for discrete data and in standard deviations for continuous data.
"""

from __future__ import annotations

from typing import Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.errors import InvalidArgument
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.discretized_logistic import DiscretizedLogistic

__all__ = ["Likelihoods", "Observation", "default_likelihood", "observation"]

Likelihoods = Literal["categorical", "bernoulli", "discretized_logistic", "gaussian"]


class Observation(nn.Module):
    """The noise between a decoder and the data.

    Attributes:
        numbers: how many outputs of the decoder it takes per entry.
    """

    numbers: int

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_dim = len(shape)

    def forward(self, outputs: Tensor) -> PyroDistribution:
        """The distribution of examples, batch shape ``(n,)``."""
        raise NotImplementedError


def default_likelihood(levels: int | None) -> Likelihoods:
    """Gaussian for continuous data, Bernoulli for two levels, categorical for more."""
    if levels is None:
        return "gaussian"
    return "bernoulli" if levels == 2 else "categorical"


def observation(
    likelihood: str, shape: tuple[int, ...], levels: int | None, noise_scale: float | None
) -> Observation:
    """Build the module for a likelihood, or raise an error if it does not suit the data."""
    _check(likelihood, levels, noise_scale)
    if levels is None:
        return _Gaussian(shape, noise_scale)
    if likelihood == "bernoulli":
        return _Bernoulli(shape)
    return _Categorical(shape, levels) if likelihood == "categorical" else _DiscretizedLogistic(shape, levels)


class _Categorical(Observation):
    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        super().__init__(shape)
        self.numbers = levels

    def forward(self, outputs: Tensor) -> PyroDistribution:
        return dist.Categorical(logits=outputs).to_event(self.event_dim)


class _Bernoulli(Observation):
    numbers = 1

    def forward(self, outputs: Tensor) -> PyroDistribution:
        return dist.Bernoulli(logits=outputs[..., 0]).to_event(self.event_dim)


class _DiscretizedLogistic(Observation):
    numbers = 2

    def __init__(self, shape: tuple[int, ...], levels: int) -> None:
        super().__init__(shape)
        self.levels = levels

    def forward(self, outputs: Tensor) -> PyroDistribution:
        half = (self.levels - 1) / 2
        loc = half * (1 + outputs[..., 0])
        scale = half * outputs[..., 1].clamp(-7, 3).exp()
        return DiscretizedLogistic(loc, scale, self.levels).to_event(self.event_dim)


class _Gaussian(Observation):
    numbers = 1

    def __init__(self, shape: tuple[int, ...], noise_scale: float | None) -> None:
        super().__init__(shape)
        if noise_scale is None:
            self.log_scale = nn.Parameter(torch.zeros(shape))
        else:
            self.register_buffer("log_scale", torch.full(shape, noise_scale).log())

    def forward(self, outputs: Tensor) -> PyroDistribution:
        return dist.Normal(outputs[..., 0], self.log_scale.exp()).to_event(self.event_dim)


def _check(likelihood: str, levels: int | None, noise_scale: float | None) -> None:
    known = ["gaussian"] if levels is None else ["categorical", "discretized_logistic"]
    known += ["bernoulli"] if levels == 2 else []
    if likelihood not in known:
        raise InvalidArgument(
            "likelihood",
            got=repr(likelihood),
            expected=f"one of {', '.join(map(repr, known))} for data with levels={levels}",
            fix=f"Write likelihood={default_likelihood(levels)!r}.",
        )
    if noise_scale is not None and levels is not None:
        raise InvalidArgument(
            "noise_scale",
            got=repr(noise_scale),
            expected="None, since only likelihood='gaussian' has it",
            fix="Leave it out.",
        )
