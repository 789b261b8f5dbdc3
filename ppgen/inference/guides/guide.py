"""The interface of guides: parametric distributions made from standard normal noise."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

__all__ = ["Guide", "Pushed", "Whitening", "log_normal"]


class Pushed(NamedTuple):
    """Noise that a guide has brought to ``y (dim,)``, and the log determinant of the map there."""

    y: Any
    log_det: Any


@runtime_checkable
class Guide(Protocol):
    r"""A family of distributions q on unconstrained space: :math:`y = f_\phi(u)` with standard normal u.

    A guide is hashable and holds no arrays: compiled code is shared by equal guides. Its
    parameters φ are one flat vector.
    """

    @property
    def name(self) -> str:
        """The name it is asked for by."""
        ...

    @property
    def dense(self) -> bool:
        """Whether it can take a dense whitening in front, and still be of its own family."""
        ...

    @property
    def dim(self) -> int:
        """The length of u and y."""
        ...

    @property
    def cites(self) -> tuple[str, ...]:
        """Keys of :mod:`ppgen.inference.citations`."""
        ...

    def __hash__(self) -> int:
        """Equal guides are one."""
        ...

    def initial(self, key: jax.Array) -> jax.Array:
        """Parameters ``(p,)`` at or near the standard normal distribution."""
        ...

    def push(self, parameters: jax.Array, u: jax.Array) -> Pushed:
        """Bring noise ``u (dim,)`` to ``y (dim,)``, with log |det ∂y/∂u|."""
        ...

    def score(self, parameters: jax.Array, u: jax.Array) -> jax.Array:
        """The gradient ``(dim,)`` of log q with respect to y, at the y of u."""
        ...

    def log_prob(self, parameters: jax.Array, y: jax.Array) -> jax.Array:
        """log q(y) at any ``y (dim,)``."""
        ...


class Whitening(NamedTuple):
    """The affine map z = location + factor y, fixed before the fit, that a guide's own is put after.

    Attributes:
        location: ``(dim,)``.
        factor: ``(dim, dim)``, or ``(dim,)`` for a diagonal.
        log_det: the logarithm of the factor's absolute determinant.
    """

    location: Any
    factor: Any
    log_det: Any

    def apply(self, y: Any) -> Any:
        """z ``(…, dim)`` of y ``(…, dim)``."""
        return self.location + (y @ self.factor.T if self.factor.ndim == 2 else y * self.factor)

    def pull(self, gradient: Any) -> Any:
        """The gradient with respect to y ``(…, dim)``, from that with respect to z."""
        return gradient @ self.factor if self.factor.ndim == 2 else gradient * self.factor

    def invert(self, z: Any) -> Any:
        """y ``(…, dim)`` of z ``(…, dim)``."""
        centred = z - self.location
        return jnp.linalg.solve(self.factor, centred.T).T if self.factor.ndim == 2 else centred / self.factor


def log_normal(u: jax.Array) -> jax.Array:
    """The standard normal log density of ``u (dim,)``."""
    return -0.5 * (u @ u) - 0.5 * len(u) * math.log(2 * math.pi)
