"""A logistic regression of each entry on those before it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ppgen.models.networks.entries import features, indicators, logits

__all__ = ["SigmoidBeliefNetwork"]


class SigmoidBeliefNetwork(nn.Module):
    r"""Logits that are linear in the entries before.

    .. math:: a_t = b_t + \sum_{s < t} W_{ts} x_s

    Args:
        length: the number of entries of an example.
        levels: how many values an entry can take; with more than two, x holds their indicators.
        classes: how many classes there are, each with biases b of its own.

    References:
        Neal, *Connectionist learning of belief networks*, 1992; Frey, Hinton and Dayan, *Does the wake-sleep
        algorithm produce good density estimators?*, 1996.
    """

    before: Tensor
    order: Tensor

    def __init__(self, length: int, levels: int, classes: int | None = None) -> None:
        super().__init__()
        self.levels = levels
        self.outputs = levels
        size = features(levels)
        self.bias = nn.Parameter(torch.zeros(classes or 1, length, size))
        self.weight = nn.Parameter(0.01 * torch.randn(length, size, length, size))  # from s, its level; to t
        before = torch.ones(length, length).triu(1)[:, None, :, None]  # s < t
        self.register_buffer("before", before, persistent=False)
        self.register_buffer("order", torch.arange(length), persistent=False)

    def forward(
        self, values: Shaped[Tensor, "n d"], label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d outputs"]:
        """Logits ``(n, d, levels)`` for rows ``(n, d)``."""
        x = indicators(values, self.levels).flatten(1)
        weight = (self.weight * self.before).flatten(2).flatten(0, 1)  # (d * size, d * size)
        return logits((x @ weight).view(len(x), *self.bias.shape[1:]) + self._bias(label), self.levels)

    def first(
        self, n: int, label: Int[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], Tensor]:
        """Logits ``(n, levels)`` of entry 0; the memory holds the sums so far of all entries."""
        sums = self._bias(label).expand(n, -1, -1)
        return logits(sums[:, 0], self.levels), sums

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: Tensor
    ) -> tuple[Float[Tensor, "n outputs"], Tensor]:
        """Logits ``(n, levels)`` of entry t, given the value ``(n,)`` before it."""
        x = indicators(previous, self.levels)  # (n, size)
        sums = memory + torch.tensordot(x, self.weight[t - 1], 1)  # of entries before t too: they are past
        return logits(sums[:, t], self.levels), sums

    def _bias(self, label: Tensor | None) -> Tensor:
        return self.bias if label is None else self.bias.index_select(0, label)  # (1 or n, d, size)
