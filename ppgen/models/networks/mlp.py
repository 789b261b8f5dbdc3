"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["mlp"]


def mlp(inputs: int, hidden: Sequence[int], outputs: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with SiLU and dropout between them; without hidden layers, one affine map.

    Example:
        >>> mlp(4, (8,), 2)
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): SiLU()
          (2): Dropout(p=0.0, inplace=False)
          (3): Linear(in_features=8, out_features=2, bias=True)
        )
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *hidden)):
        layers += [nn.Linear(before, after), nn.SiLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(([inputs, *hidden])[-1], outputs))
