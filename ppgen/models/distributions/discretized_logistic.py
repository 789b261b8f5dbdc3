"""A logistic density put into the cells between neighbouring levels."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from ppgen.models.distributions import PyroDistribution

__all__ = ["DiscretizedLogistic"]


class DiscretizedLogistic(TorchDistribution):
    r"""The probability that a logistic variable rounds to each of the levels 0 … K - 1.

    .. math:: p(k) = \sigma\Big(\frac{k + 1/2 - \mu}{s}\Big) - \sigma\Big(\frac{k - 1/2 - \mu}{s}\Big)

    with the tails added to the first and the last level, so that the probabilities sum to 1.

    Args:
        loc: centres ``(*batch)``, in levels.
        scale: positive widths ``(*batch)``, in levels.
        levels: how many levels there are.

    References:
        Salimans, Karpathy, Chen and Kingma, *PixelCNN++*, 2017, arXiv:1701.05517.

    Example:
        >>> die = DiscretizedLogistic(torch.tensor(2.5), torch.tensor(1.0), levels=6)
        >>> die.log_prob(torch.arange(6)).exp()
        tensor([0.1192, 0.1497, 0.2311, 0.2311, 0.1497, 0.1192])
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 (torch's own)

    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.levels = levels
        super().__init__(self.loc.shape)

    @property
    def support(self) -> constraints.Constraint:
        """The levels."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution with a larger batch."""
        return DiscretizedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log probability of levels ``(*batch)``."""
        upper = (value + 0.5 - self.loc) / self.scale
        lower = (value - 0.5 - self.loc) / self.scale
        # log(σ(u) - σ(l)) = log σ(u) + log σ(-l) + log(1 - e^(l - u)): no difference of close numbers.
        below = torch.where(value >= self.levels - 1, torch.zeros_like(upper), F.logsigmoid(upper))
        above = torch.where(value <= 0, torch.zeros_like(lower), F.logsigmoid(-lower))
        inside = (value > 0) & (value < self.levels - 1)
        gap = torch.where(inside, torch.log(-torch.expm1(lower - upper)), torch.zeros_like(upper))
        return below + above + gap

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw levels ``(*sample_shape, *batch)``, as floats."""
        shape = self.shape(Size(sample_shape))
        with torch.no_grad():
            uniform = torch.rand(shape, device=self.loc.device).clamp(1e-7, 1 - 1e-7)
            continuous = self.loc + self.scale * uniform.logit()
            return continuous.round().clamp(0, self.levels - 1)
