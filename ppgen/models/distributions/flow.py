"""The change of variables as one distribution."""

from __future__ import annotations

from typing import Any

from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ppgen.models.distributions import PyroDistribution

__all__ = ["Flow"]


class Flow(TorchDistribution):
    r"""The density of what an invertible map sends to a simple base distribution.

    .. math:: \log p(y) = \log p_0(f(u)) + \log|\det f'(u)| - \sum_i \log s_i, \qquad u = (y - m) / s

    Args:
        transform: :math:`f`, from standardised rows ``(..., d)`` to the base's space; zuko's, which give the
            log-determinant along with the value.
        base: :math:`p_0`, with event shape ``(d,)``.
        loc, scale: :math:`m` and :math:`s > 0`, each of the shape of one row.
        batch_shape: how many independent rows.
    """

    has_rsample = True
    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(
        self,
        transform: Any,
        base: Distribution,
        loc: Tensor,
        scale: Tensor,
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.transform = transform
        self.base = base
        self.loc = loc
        self.scale = scale
        super().__init__(Size(batch_shape), loc.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All real rows."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        return Flow(self.transform, self.base, self.loc, self.scale, Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of values ``(*batch, *shape)`` in their own units."""
        standardised = ((value - self.loc) / self.scale).to(self.loc.dtype)
        flat = standardised.flatten(value.ndim - len(self.event_shape))  # (*batch, d)
        z, log_det = self.transform.call_and_ladj(flat)  # (*batch, d), (*batch)
        return self.base.log_prob(z) + log_det - self.scale.log().sum()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``."""
        z = self.base.rsample(Size(sample_shape) + self.batch_shape)  # (..., d)
        return self.transform.inv(z).reshape(self.shape(Size(sample_shape))) * self.scale + self.loc
