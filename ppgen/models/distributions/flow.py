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
        transform: :math:`f`, from standardised data ``(..., d)`` to the base's space; zuko's, which give the
            log-determinant along with the value. One made for contexts ``(n, c)`` fits the batch shape (n,).
        base: :math:`p_0`, with event shape ``(d,)``.
        loc, scale: :math:`m` and :math:`s > 0`, each of the shape of one example.
        batch_shape: how many independent rows.
        support: of one entry, in its own units; all real numbers by default.

    Example:
        >>> import torch
        >>> from ppgen.models.networks.coupling import affine_coupling_map
        >>> normal = torch.distributions.Normal(torch.zeros(2), 1.0)
        >>> base = torch.distributions.Independent(normal, 1)
        >>> transform = affine_coupling_map(2, transforms=2, hidden=(8,))()
        >>> flow = Flow(transform, base, torch.zeros(2), torch.ones(2))
        >>> flow.rsample((5,)).shape
        torch.Size([5, 2])
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
        support: constraints.Constraint = constraints.real,
    ) -> None:
        self.transform = transform
        self.base = base
        self.loc = loc
        self.scale = scale
        self.entry_support = support
        super().__init__(Size(batch_shape), loc.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Where rows can lie."""
        return constraints.independent(self.entry_support, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        return Flow(
            self.transform, self.base, self.loc, self.scale, Size(batch_shape), support=self.entry_support
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of values ``(*batch, *shape)`` in their own units."""
        standardised = ((value - self.loc) / self.scale).to(self.loc.dtype)
        flat = standardised.flatten(value.ndim - len(self.event_shape))  # (*batch, d)
        z, log_det = self.transform.call_and_ladj(flat)  # (*batch, d), (*batch)
        return self.base.log_prob(z) + log_det - self.scale.log().sum()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``."""
        z = self.base.rsample(Size(sample_shape) + self.batch_shape)  # (..., d)
        return self.from_base(z).reshape(self.shape(Size(sample_shape)))

    def from_base(self, z: Tensor) -> Tensor:
        """The rows ``(..., *shape)`` that the map makes of values ``(..., d)`` of :attr:`base`.

        A program that samples z from the base and takes y from here is the non-centred form of one that
        samples y from the flow.
        """
        rows = self.transform.inv(z)
        return rows.reshape(*rows.shape[:-1], *self.event_shape) * self.scale + self.loc
