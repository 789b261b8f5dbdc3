"""The chain rule as one distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ppgen.models.distributions import PyroDistribution
from ppgen.models.networks.transformer import Decoder

__all__ = ["Autoregressive"]

Conditional = Callable[[Tensor], Distribution]


class Autoregressive(TorchDistribution):
    r"""A density as a product of conditionals, one for each entry of a row in reading order.

    .. math:: \log p(x) = \sum_{t=1}^{d} \log p(x_t \mid x_{<t})

    The log density is one parallel pass; a draw takes d steps, each of which reuses the last one's memory.

    Args:
        network: its output t depends on the entries before t.
        conditional: turns outputs ``(..., outputs)`` into a distribution with batch shape ``(...)``.
        shape: the shape of one row, whose product is the network's length.
        batch_shape: how many independent rows.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(
        self,
        network: Decoder,
        conditional: Conditional,
        shape: tuple[int, ...],
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.network = network
        self.conditional = conditional
        super().__init__(Size(batch_shape), Size(shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Each entry's own support."""
        entry = self.conditional(torch.zeros(self.network.outputs)).support
        return constraints.independent(entry, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        return Autoregressive(self.network, self.conditional, tuple(self.event_shape), Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of values ``(*batch, *shape)``, summed over entries in double precision."""
        batch = value.shape[: value.ndim - len(self.event_shape)]
        flat = value.reshape(batch.numel(), self.event_shape.numel())  # (rows, d)
        entries = self.conditional(self.network(flat)).log_prob(flat)
        return entries.sum(-1, dtype=torch.float64).reshape(batch)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``, entry by entry."""
        shape = self.shape(Size(sample_shape))
        with torch.no_grad():
            rows = Size(sample_shape).numel() * self.batch_shape.numel()
            outputs, memory = self.network.first(rows)
            entries = [self.conditional(outputs).sample()]  # each (rows,)
            for t in range(1, self.event_shape.numel()):
                outputs, memory = self.network.next(t, entries[-1], memory)
                entries.append(self.conditional(outputs).sample())
        return torch.stack(entries, -1).reshape(shape)
