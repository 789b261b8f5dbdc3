"""Random numbers that a torch function draws by itself, as inputs that JAX can draw instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import torch
from torch._ops import OpOverload

__all__ = ["Noise", "as_noise"]


@dataclass(frozen=True)
class Noise:
    """Independent random numbers of one kind.

    Attributes:
        kind: their distribution.
        shape, dtype: of the tensor.
        first, second: mean and standard deviation of normal numbers, the ends of uniform ones; a Bernoulli
            number is 1 with probability ``first``.
    """

    kind: Literal["normal", "uniform", "bernoulli"]
    shape: tuple[int, ...]
    dtype: torch.dtype
    first: float = 0.0
    second: float = 1.0

    def draw(self, key: jax.Array) -> jax.Array:
        """The same kind of numbers from JAX.

        Example:
            >>> dropout = Noise("bernoulli", (10_000,), torch.float32, 0.8)
            >>> 0.78 < dropout.draw(jax.random.key(0)).mean() < 0.82
            Array(True, dtype=bool)
        """
        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        if self.kind == "normal":
            return self.first + self.second * jax.random.normal(key, self.shape, dtype)
        if self.kind == "uniform":
            return jax.random.uniform(key, self.shape, dtype, self.first, self.second)
        return jax.random.bernoulli(key, self.first, self.shape).astype(dtype)


def as_noise(operation: OpOverload, args: Any, kwargs: Any) -> Noise | None:
    """What an ATen operation draws, if that is noise whose distribution no input changes."""
    name = operation._schema.name.removeprefix("aten::")
    reader = _READERS.get(f"{name}.{operation._overloadname}", _READERS.get(name))
    return None if reader is None else reader(list(args), kwargs)


def _sized(kind: Any) -> Callable[[list[Any], Any], Noise]:
    """An operation whose first argument is a shape."""

    def read(args: list[Any], kwargs: Any) -> Noise:
        return Noise(kind, tuple(args[0]), kwargs.get("dtype") or torch.get_default_dtype())

    return read


def _like(kind: Any) -> Callable[[list[Any], Any], Noise | None]:
    """An operation whose first argument is a tensor of the shape and dtype wanted, then numbers."""

    def read(args: list[Any], kwargs: Any) -> Noise | None:
        tensor, *numbers = args
        given = [number for number in (*numbers, *kwargs.values()) if isinstance(number, (int, float))]
        if any(isinstance(number, torch.Tensor) for number in numbers):
            return None
        return Noise(kind, tuple(tensor.shape), kwargs.get("dtype") or tensor.dtype, *map(float, given))

    return read


_READERS: Mapping[str, Callable[[list[Any], Any], Noise | None]] = {
    "randn": _sized("normal"),
    "rand": _sized("uniform"),
    "randn_like": _like("normal"),
    "rand_like": _like("uniform"),
    "normal_functional": _like("normal"),
    "normal_": _like("normal"),
    "uniform": _like("uniform"),
    "uniform_": _like("uniform"),
    "bernoulli.p": _like("bernoulli"),
    "bernoulli_.float": _like("bernoulli"),
}
