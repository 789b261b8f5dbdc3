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

from ppgen.program.lowering.aten import key_in

__all__ = ["Noise", "as_noise"]


@dataclass(frozen=True)
class Noise:
    """Independent random numbers of one kind, or the key to draw them by.

    Attributes:
        kind: their distribution: ``"normal"``, ``"uniform"``, ``"bernoulli"``, ``"exponential"`` or
            ``"cauchy"``; ``"key"`` where their law depends on inputs.
        shape, dtype: of the tensor.
        first, second: its parameters: mean and standard deviation of normal numbers, the ends of uniform
            ones, the probability of a 1, the rate, location and scale.
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
    "exponential": lambda key, shape, dtype, rate, _: jax.random.exponential(key, shape, dtype) / rate,
    "cauchy": lambda key, shape, dtype, loc, scale: loc + scale * jax.random.cauchy(key, shape, dtype),
}


def as_noise(operation: OpOverload, args: Any, kwargs: Any) -> Noise | None:
    """What an ATen operation draws, if that is noise whose distribution no input changes."""
    key = key_in(_KINDS, operation)
    if key not in _KINDS:
        return None
    # Torch leaves out what is as the schema says it is by default.
    defaults: dict[str, Any] = {each.name: each.default_value for each in operation._schema.arguments}
    given = defaults | dict(zip(defaults, args, strict=False)) | kwargs
    parameters = [given[name] for name in _PARAMETERS if given.get(name) is not None]
    if any(isinstance(parameter, torch.Tensor) for parameter in parameters):
        return None
    shape, dtype = given.get("size"), given.get("dtype")
    if shape is None:
        shape, dtype = given["self"].shape, dtype or given["self"].dtype
    return Noise(_KINDS[key], tuple(shape), dtype or torch.get_default_dtype(), *map(float, parameters))


_PARAMETERS = ("mean", "std", "from", "to", "p", "lambd", "median", "sigma")

_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("randn", "randn_like", "normal_functional", "normal_"), "normal"),
    **dict.fromkeys(("rand", "rand_like", "uniform", "uniform_"), "uniform"),
    **dict.fromkeys(("bernoulli.p", "bernoulli_.float"), "bernoulli"),
    **dict.fromkeys(("exponential", "exponential_"), "exponential"),
    **dict.fromkeys(("cauchy", "cauchy_"), "cauchy"),
}
