"""The neural autoregressive distribution estimator's network: a hidden layer that all share."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.entries import features, indicators, logits

__all__ = ["SharedHidden"]

BLOCK = 64  # entries whose hidden units are held in memory at once


class SharedHidden(nn.Module):
    r"""Hidden units that read one entry more at each step, and outputs of each entry's own.

    .. math:: h_t = \sigma\Big(c + \sum_{s < t} W_s x_s\Big), \qquad a_t = b_t + V_t h_t

    Args:
        length: the number of entries of an example.
        levels: how many values an entry can take; with more than two, x holds their indicators.
        outputs: the number of outputs per entry.
        hidden: how many hidden units.
        dropout: on the hidden units.
        classes: how many classes there are, each with hidden biases c of its own.

    References:
        Larochelle and Murray, *The Neural Autoregressive Distribution Estimator*, 2011; Uria, Murray and
        Larochelle, *RNADE*, 2013, arXiv:1306.0186 (continuous entries).
    """

    order: Tensor

    def __init__(
        self,
        length: int,
        levels: int | None,
        outputs: int,
        *,
        hidden: int,
        dropout: float,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.outputs = outputs
        said = outputs if levels is None else outputs - 1  # the first level's logit is 0
        self.read = nn.Parameter(torch.randn(length, features(levels), hidden) / length**0.5)  # W
        self.read_bias = nn.Parameter(torch.zeros(classes or 1, hidden))  # c
        self.say = nn.Parameter(torch.randn(length, said, hidden) / hidden**0.5)  # V
        self.say_bias = nn.Parameter(torch.zeros(length, said))  # b
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("order", torch.arange(length), persistent=False)

    def forward(
        self, values: Shaped[Tensor, "n d"], label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d outputs"]:
        """Outputs ``(n, d, outputs)`` for rows ``(n, d)``."""
        total = self._start(len(values), label)  # the sums before the block
        outputs = []
        for start in range(0, values.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            x = indicators(values[:, block], self.levels)
            sums = torch.einsum("nts,tsh->nth", x, self.read[block]).cumsum(1)  # of an entry and those before
            before = total[:, None] + F.pad(sums[:, :-1], (0, 0, 1, 0))  # (n, block, hidden)
            h = self.dropout(before.sigmoid())
            outputs.append(torch.einsum("nth,toh->nto", h, self.say[block]) + self.say_bias[block])
            total = total + sums[:, -1]
        return logits(torch.cat(outputs, 1), self.levels)

    def first(
        self, n: int, label: Int[Tensor, " n"] | None = None
    ) -> tuple[Float[Tensor, "n outputs"], Tensor]:
        """Outputs ``(n, outputs)`` of entry 0; the memory is the hidden units' sums so far."""
        start = self._start(n, label)
        return self._outputs(0, start), start

    def next(
        self, t: int, previous: Shaped[Tensor, " n"], memory: Tensor
    ) -> tuple[Float[Tensor, "n outputs"], Tensor]:
        """Outputs ``(n, outputs)`` of entry t, given the value ``(n,)`` before it."""
        sums = memory + indicators(previous, self.levels) @ self.read[t - 1]  # (n, hidden)
        return self._outputs(t, sums), sums

    def _outputs(self, t: int, sums: Tensor) -> Tensor:
        return logits(F.linear(sums.sigmoid(), self.say[t], self.say_bias[t]), self.levels)

    def _start(self, n: int, label: Tensor | None) -> Tensor:
        return self.read_bias.expand(n, -1) if label is None else self.read_bias.index_select(0, label)
