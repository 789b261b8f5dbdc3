"""Several distributions, one of which a one-hot vector selects; linear in that vector."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ppgen.models.distributions import PyroDistribution

__all__ = ["OneHot", "Selected", "SelectedOfEach"]


class OneHot(TorchDistribution):
    r"""A one-hot vector y with given probabilities; its log density is linear in y.

    .. math:: \log p(y) = \sum_c y_c \log \pi_c

    Unlike PyTorch's own it takes any y on the simplex, for which that sum is the expectation of the log
    density over one-hot vectors with probabilities y.

    Args:
        probs: :math:`\pi`, ``(*batch, classes)``; zeros are allowed where y is zero.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)
    support = constraints.one_hot

    def __init__(self, probs: Tensor) -> None:
        self.probs = probs
        super().__init__(probs.shape[:-1], probs.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        return OneHot(self.probs.expand(Size(batch_shape) + self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of vectors ``(*batch, classes)`` on the simplex."""
        return torch.xlogy(value, self.probs).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw one-hot vectors ``(*sample_shape, *batch, classes)``."""
        return torch.distributions.OneHotCategorical(self.probs, validate_args=False).sample(sample_shape)


class SelectedOfEach(TorchDistribution):
    r"""One value of each of C distributions; the density is that of the selected one.

    .. math:: \log p(v \mid y) = \sum_c y_c \log p_c(v_c)

    Values that y does not select count for nothing. With y on the simplex this is the expectation over
    one-hot vectors with probabilities y.

    Args:
        choices: distributions with batch shape ``(*batch, C)``.
        y: ``(*batch, C)``.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, choices: Distribution, y: Tensor) -> None:
        self.choices = choices
        self.y = y
        self.has_rsample = choices.has_rsample
        super().__init__(y.shape[:-1], choices.batch_shape[-1:] + choices.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """That of the choices."""
        return constraints.independent(self.choices.support, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density ``(*batch)`` of values ``(*batch, C, *event)``."""
        return (self.y * self.choices.log_prob(value)).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, C, *event)``."""
        return self.choices.rsample(Size(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, C, *event)``."""
        return self.choices.sample(Size(sample_shape))


class Selected(TorchDistribution):
    r"""A value of the one of C distributions that y selects.

    .. math:: \log p(v \mid y) = \sum_c y_c \log p_c(v)

    Args:
        choices: distributions with batch shape ``(*batch, C)``.
        y: ``(*batch, C)``.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, choices: Distribution, y: Tensor) -> None:
        self.choices = choices
        self.y = y
        super().__init__(y.shape[:-1], choices.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint | None:
        """That of the choices."""
        return self.choices.support

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density ``(*batch)`` of values ``(*batch, *event)``."""
        each = self.choices.log_prob(value.unsqueeze(-1 - len(self.event_shape)))  # (*batch, C)
        return (self.y * each).sum(-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, *event)``."""
        drawn = self.choices.sample(Size(sample_shape))  # (*sample, *batch, C, *event)
        axis = drawn.ndim - len(self.event_shape) - 1
        chosen = self.y.expand(drawn.shape[: axis + 1]).argmax(-1, keepdim=True)
        chosen = chosen.reshape(*chosen.shape, *(1,) * len(self.event_shape))
        index = chosen.expand(*drawn.shape[:axis], 1, *self.event_shape)
        return drawn.gather(axis, index).squeeze(axis)
