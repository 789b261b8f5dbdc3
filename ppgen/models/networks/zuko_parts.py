"""The package zuko, imported without what it does to the rest of torch."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.distributions import Distribution

__all__ = ["activation", "zuko"]

_validation = Distribution._validate_args
import zuko  # noqa: E402

# Importing zuko switches argument validation off for all of torch.distributions; it is put back here.
Distribution.set_default_validate_args(_validation)


def activation(dropout: float) -> Callable[[], nn.Module]:
    """What zuko's networks put after each hidden layer: SiLU, and dropout in training."""
    return nn.SiLU if not dropout else lambda: nn.Sequential(nn.SiLU(), nn.Dropout(dropout))
