"""The package zuko, imported without its side effects on torch."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.distributions import Distribution

__all__ = ["activation", "zuko"]

_validation = Distribution._validate_args
import zuko  # noqa: E402

# Importing zuko turns off argument validation for all of torch.distributions; this restores it.
Distribution.set_default_validate_args(_validation)


def activation(dropout: float) -> Callable[[], nn.Module]:
    """The activation of zuko's hidden layers: SiLU, and dropout in training."""
    return nn.SiLU if not dropout else lambda: nn.Sequential(nn.SiLU(), nn.Dropout(dropout))
