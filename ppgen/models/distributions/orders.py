"""A mixture of chain rules, one for each of several orders of a row's entries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.autoregressive import Autoregressive, Conditional, Conditionals

__all__ = ["OrderMixture"]


class OrderMixture(TorchDistribution):
    r"""The average, over K orders, of the densities that the chain rule gives in each.

    .. math:: p(x) = \frac1K \sum_{k=1}^{K} \prod_{t=1}^{d} p_k(x_{k(t)} \mid x_{k(1)}, \dots, x_{k(t - 1)})

    A draw draws an order first.

    Args:
        networks: the conditionals in each order.
        conditional, shape, batch_shape, label: those of :class:`Autoregressive`.

    References:
        Uria, Murray and Larochelle, *A Deep and Tractable Density Estimator*, 2013, arXiv:1310.1757.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(
        self,
        networks: Sequence[Conditionals],
        conditional: Conditional,
        shape: tuple[int, ...],
        batch_shape: tuple[int, ...] = (),
        label: Tensor | None = None,
    ) -> None:
        self.networks = networks
        self.conditional = conditional
        self.label = label
        super().__init__(Size(batch_shape), Size(shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Each entry's own support."""
        return self._in_order(0, self.batch_shape, self.label).support

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        label = None if self.label is None else self.label.expand(batch_shape)
        shape = tuple(self.event_shape)
        return OrderMixture(self.networks, self.conditional, shape, Size(batch_shape), label)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of values ``(*batch, *shape)``, in double precision."""
        orders = range(len(self.networks))
        each = [self._in_order(k, self.batch_shape, self.label).log_prob(value) for k in orders]
        return torch.stack(each).logsumexp(0) - math.log(len(each))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``: for each example an order, then its entries."""
        batch = Size(sample_shape) + self.batch_shape
        label = None if self.label is None else self.label.expand(batch).reshape(-1)
        order = torch.randint(len(self.networks), (batch.numel(),))
        groups = [(order == k).nonzero()[:, 0] for k in range(len(self.networks))]
        drawn = [
            self._in_order(k, rows.shape, None if label is None else label[rows.to(label.device)]).sample()
            for k, rows in enumerate(groups)
        ]
        return torch.cat(drawn)[torch.cat(groups).argsort()].reshape(batch + self.event_shape)

    def _in_order(self, k: int, batch_shape: Size, label: Tensor | None) -> PyroDistribution:
        return Autoregressive(self.networks[k], self.conditional, tuple(self.event_shape), batch_shape, label)
