"""The chain rule as one distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from pyro.distributions import TorchDistribution
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from ppgen.models.distributions import PyroDistribution

__all__ = ["Autoregressive", "Conditional", "Conditionals"]

Conditional = Callable[[Tensor], Distribution]


@runtime_checkable
class Conditionals(Protocol):
    """A network that predicts each entry of an example from those before it.

    It does so in two ways: for all entries in one parallel pass, and entry by entry, with a memory of earlier
    computations, so that a draw computes nothing twice.

    Attributes:
        outputs: the number of outputs per entry.
        order: ``(d,)``, the t-th entry in the order.
    """

    outputs: int

    @property
    def order(self) -> Tensor:
        """The entry that comes t-th, ``(d,)``."""
        ...

    def __call__(self, values: Tensor, label: Tensor | None = None) -> Tensor:
        """Outputs ``(n, d, outputs)`` for the entries of rows ``(n, d)`` and their classes ``(n,)``."""
        ...

    def first(self, n: int, label: Tensor | None = None) -> tuple[Tensor, Any]:
        """Outputs ``(n, outputs)`` for entry ``order[0]``, and the memory that :meth:`next` resumes from."""
        ...

    def next(self, t: int, previous: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Outputs ``(n, outputs)`` for entry ``order[t]``, given the value ``(n,)`` of ``order[t - 1]``.

        The memory given may be changed in place.
        """
        ...


class Autoregressive(TorchDistribution):
    r"""A density as a product of conditionals, one for each entry of a row, in the network's order.

    .. math:: \log p(x) = \sum_{t=1}^{d} \log p(x_t \mid x_{<t})

    The log density is one parallel pass; a draw takes d steps, each of which reuses the last one's memory.

    Args:
        network: says of each entry what follows from those before it.
        conditional: turns outputs ``(..., outputs)`` into a distribution with batch shape ``(...)``.
        shape: the shape of one row, whose product is the network's length.
        batch_shape: how many independent rows.
        label: the rows' classes, of shape ``batch_shape``, for a network that reads them.

    Example:
        >>> from ppgen.models.autoregressive.conditionals import Levels, Sharpening
        >>> from ppgen.models.networks.fvsbn import SigmoidBeliefNetwork
        >>> coins = Autoregressive(SigmoidBeliefNetwork(2, 2), Levels(Sharpening()), (2,))
        >>> rows = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> round(coins.log_prob(rows).exp().sum().item(), 6)
        1.0
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(
        self,
        network: Conditionals,
        conditional: Conditional,
        shape: tuple[int, ...],
        batch_shape: tuple[int, ...] = (),
        label: Tensor | None = None,
    ) -> None:
        self.network = network
        self.conditional = conditional
        self.label = label
        super().__init__(Size(batch_shape), Size(shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Each entry's own support."""
        entry = self.conditional(torch.zeros(self.network.outputs)).support
        return constraints.independent(entry, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroDistribution:
        """The same distribution over more rows."""
        label = None if self.label is None else self.label.expand(batch_shape)
        shape = tuple(self.event_shape)
        return Autoregressive(self.network, self.conditional, shape, Size(batch_shape), label)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density of values ``(*batch, *shape)``, summed over entries in double precision."""
        batch = value.shape[: value.ndim - len(self.event_shape)]
        flat = value.reshape(batch.numel(), self.event_shape.numel())  # (rows, d)
        outputs = self.network(flat, self._labels(batch))
        entries = self.conditional(outputs).log_prob(flat)
        return entries.sum(-1, dtype=torch.float64).reshape(batch)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, *shape)``, entry by entry."""
        batch = Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            outputs, memory = self.network.first(batch.numel(), self._labels(batch))
            drawn = [self.conditional(outputs).sample()]  # each (rows,)
            for t in range(1, self.event_shape.numel()):
                outputs, memory = self.network.next(t, drawn[-1], memory)
                drawn.append(self.conditional(outputs).sample())
        place = self.network.order.argsort()  # where in the order each entry was drawn
        return torch.stack(drawn, -1)[:, place].reshape(batch + self.event_shape)

    def _labels(self, batch: Size) -> Tensor | None:
        return None if self.label is None else self.label.expand(batch).reshape(-1)
