"""Random numbers that a torch function draws by itself, as inputs that JAX can draw instead.

Where no tensor changes their law, the numbers themselves are inputs. Where one does, as in a gamma variate
whose concentration is learned, the input is a key, and the draw an operation of ``aten.random``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import torch
from torch._ops import OpOverload

from ppgen.program.lowering.aten import find_in

__all__ = ["Noise", "as_noise"]


@dataclass(frozen=True)
class Noise:
    """Independent random numbers of one kind, or the key to draw them by.

    Attributes:
        kind: their distribution: ``"normal"``, ``"uniform"``, ``"bernoulli"``, ``"exponential"`` or
            ``"cauchy"``; ``"key"`` where their law depends on inputs.
        shape, dtype: of the tensor.
        first, second: its parameters: mean and standard deviation of normal numbers, the ends of uniform
            ones, the probability of a 1, location and scale.
    """

    kind: str
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
        if self.kind == "key":
            return key
        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        return _IN_JAX[self.kind](key, self.shape, dtype, self.first, self.second)


_IN_JAX: Mapping[str, Callable[..., jax.Array]] = {
    "normal": lambda key, shape, dtype, mean, sd: mean + sd * jax.random.normal(key, shape, dtype),
    "uniform": lambda key, shape, dtype, low, high: jax.random.uniform(key, shape, dtype, low, high),
    "bernoulli": lambda key, shape, dtype, p, _: jax.random.bernoulli(key, p, shape).astype(dtype),
    "exponential": lambda key, shape, dtype, *_: jax.random.exponential(key, shape, dtype),
    "cauchy": lambda key, shape, dtype, loc, scale: loc + scale * jax.random.cauchy(key, shape, dtype),
}


def as_noise(operation: OpOverload, args: Any, kwargs: Any) -> Noise | None:
    """What an ATen operation draws, if that is noise whose distribution no input changes."""
    reader = find_in(_READERS, operation)
    return None if reader is None else reader(list(args), kwargs)


def _sized(kind: str) -> Callable[[list[Any], Any], Noise]:
    """An operation whose first argument is a shape."""

    def read(args: list[Any], kwargs: Any) -> Noise:
        return Noise(kind, tuple(args[0]), kwargs.get("dtype") or torch.get_default_dtype())

    return read


def _like(kind: str) -> Callable[[list[Any], Any], Noise | None]:
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
    "exponential": _like("exponential"),
    "exponential_": _like("exponential"),
    "cauchy": _like("cauchy"),
    "cauchy_": _like("cauchy"),
}
