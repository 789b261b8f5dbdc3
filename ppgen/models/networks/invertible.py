"""What an invertible network of our own needs, to be used where zuko's transforms are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

__all__ = ["Bijection", "Inverse", "InvertibleMap", "Turned"]


ORDERS = 2  # of derivatives that are right: gradients, and the Hessians of Laplace's method


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

    def forward(self, context: Tensor | None = None) -> Turned:
        """The inverse of the other module's map in this context."""
        return Turned(self.turned(context))


class Turned(Transform):
    r"""The inverse of a map g whose own inverse takes many passes, as that of an autoregressive one does.

    Gradients do not follow these passes. What is found solves :math:`g(z) = x`, which says how it changes:

    .. math:: dz = \Big( \frac{\partial g}{\partial z} \Big)^{-1} (dx - d_\theta g)

    so that a gradient costs a Jacobian, of all outputs at once, and its inverse. Derivatives are right up
    to the second order.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What g makes ``x (..., d)`` of, and the log-determinant ``(...)`` of the way back."""
        z = self._call(x)
        return z, -self.other.call_and_ladj(z)[1]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-determinant ``(...)`` at ``x``."""
        return -self.other.log_abs_det_jacobian(y, x)

    def _call(self, x: Tensor) -> Any:
        if _is_recorded():
            return self.other.inv(x)
        with torch.no_grad():
            z = self.other.inv(x)
        if not torch.is_grad_enabled():
            return z
        slopes = torch.linalg.inv(_jacobian(self.other, z))
        # Newton's steps with constant slopes: values stay, and each step makes one more derivative right.
        for _ in range(ORDERS):
            z = z - (slopes @ (self.other(z) - x)[..., None])[..., 0]
        return z

    def _inverse(self, y: Tensor) -> Any:
        return self.other(y)


def _is_recorded() -> bool:
    """Whether operations are recorded to be differentiated elsewhere, where autograd cannot be called."""
    return torch._C._functorch.maybe_current_level() is not None


def _jacobian(g: Any, z: Tensor) -> Tensor:
    """The derivatives ``(..., d, d)`` of each output of g by each entry of ``z (..., d)``; constants."""
    copies = z.detach().expand(z.shape[-1], *z.shape).contiguous().requires_grad_()  # one for each output
    of_each = g(copies).diagonal(dim1=0, dim2=-1).sum()
    return torch.autograd.grad(of_each, copies)[0].movedim(0, -2)


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
