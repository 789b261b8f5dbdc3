"""What an invertible network of our own needs, to be used where zuko's transforms are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.distributions import Transform, constraints

__all__ = ["Bijection", "Inverse", "InvertibleMap"]


class InvertibleMap(nn.Module, ABC):
    """A module that, called with a context or without, gives the invertible map from data to noise."""

    def forward(self, context: Tensor | None = None) -> Bijection:
        """The map for contexts ``(..., c)``, whose batch shape broadcasts with that of the rows."""
        return Bijection(self, context)

    @abstractmethod
    def to_noise(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise ``(..., d)`` of rows ``(..., d)``, and the log-determinant ``(...)``."""

    @abstractmethod
    def to_data(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The rows ``(..., d)`` of noise ``(..., d)``."""


class Inverse(nn.Module):
    """The map of another module, turned around."""

    def __init__(self, turned: nn.Module) -> None:
        super().__init__()
        self.turned = turned

    def forward(self, context: Tensor | None = None) -> Transform:
        """The inverse of the other module's map in this context."""
        return self.turned(context).inv


class Bijection(Transform):
    """An invertible map in a given context, as torch and zuko speak of transforms."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, owner: InvertibleMap, context: Tensor | None) -> None:
        super().__init__()
        self.owner = owner
        self.context = context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and log-determinant in one pass, under zuko's name for it."""
        return self.owner.to_noise(x, self.context)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-determinant ``(...)`` at ``x``."""
        return self.call_and_ladj(x)[1]

    def _call(self, x: Tensor) -> Any:
        return self.owner.to_noise(x, self.context)[0]

    def _inverse(self, y: Tensor) -> Any:
        return self.owner.to_data(y, self.context)
