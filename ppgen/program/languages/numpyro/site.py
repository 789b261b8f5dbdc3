"""Trained torch models as distributions for ``numpyro.sample``: their log densities replayed in JAX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch
from numpyro.distributions import Distribution, constraints
from torch.distributions import constraints as torch_constraints

from ppgen.errors import UnsupportedProgram
from ppgen.program.languages.pyro.session import own_state
from ppgen.program.languages.site import FrozenModel, Sites, batch_of, check_latents
from ppgen.program.lowering.recording import Recording, record

__all__ = ["LoweredDistribution", "NumPyroSites"]


class NumPyroSites(Sites):
    """Trained torch models in NumPyro programs."""

    def distribution(self, frozen: FrozenModel) -> LoweredDistribution:
        """The distribution of one row."""
        return LoweredDistribution(_lower(frozen), (), ())

    def decoder(self, frozen: FrozenModel) -> Callable[..., LoweredDistribution]:
        """What a model says of rows given their latent variables."""
        lowered = _lower(frozen)

        def decode(*values: Any, **named: Any) -> LoweredDistribution:
            given = check_latents(frozen.latents, tuple(map(jnp.asarray, values)), named)
            return LoweredDistribution(lowered, tuple(given.values()), batch_of(frozen.latents, given))

        return decode


class LoweredDistribution(Distribution):
    """A torch distribution of one row, given latent variables or none, for NumPyro.

    The log density is pure JAX. Draws are torch's, through a callback, and have no gradients.

    Args:
        lowered: the torch distribution and its record.
        latents: the latent variables that it is given, ``(*batch, *their shape)`` each.
        batch: their batch shape.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (NumPyro's own declaration)
    pytree_data_fields = ("latents",)
    pytree_aux_fields = ("lowered",)

    def __init__(self, lowered: _Lowered, latents: tuple[Any, ...], batch: tuple[int, ...]) -> None:
        self.lowered = lowered
        self.latents = latents
        super().__init__((*batch, *lowered.entries), lowered.event, validate_args=False)

    @property
    def support(self) -> Any:
        """The model's own support."""
        return self.lowered.support

    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """The log density ``(*batch)`` of values ``(*batch, *event)``."""
        return self.lowered.log_prob(jnp.asarray(value), *self.latents)

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw ``(*sample_shape, *batch, *event)``."""
        assert key is not None
        seed = jax.random.bits(key, dtype=jnp.uint32)
        shape = self.shape(sample_shape)
        return self.lowered.sample(seed, shape, len(sample_shape), *self.latents)


def _lower(frozen: FrozenModel) -> _Lowered:
    lowered = _Lowered(frozen)
    lowered.recording  # noqa: B018 (what cannot be replayed is said now, not within a program)
    return lowered


@dataclass(frozen=True, eq=False)
class _Lowered:
    """The torch distribution of one row as a function of latent variables, and its record for JAX."""

    distribution: FrozenModel

    @cached_property
    def example(self) -> Any:
        """The distribution at zero."""
        with own_state(), torch.no_grad():
            return self.distribution(*self._zeros())

    @property
    def entries(self) -> tuple[int, ...]:
        """The batch shape of one row."""
        return tuple(self.example.batch_shape)

    @property
    def event(self) -> tuple[int, ...]:
        """The event shape of one row."""
        return tuple(self.example.event_shape)

    @cached_property
    def support(self) -> Any:
        """The support, as NumPyro's constraint."""
        return _in_numpyro(self.example.support)

    @cached_property
    def recording(self) -> Recording:
        """The log density of one row as a record of torch operations."""

        def log_prob(value: torch.Tensor, *latents: torch.Tensor) -> torch.Tensor:
            return self.distribution(*latents).log_prob(value)

        dtype = torch.int64 if self._counts else torch.float64
        with own_state(), pyro.validation_enabled(False):
            return record(log_prob, torch.zeros(self.entries + self.event, dtype=dtype), *self._zeros())

    @cached_property
    def _replay(self) -> Callable[..., jax.Array]:
        return jax.jit(jax.vmap(self.recording.in_jax), inline=True)

    def log_prob(self, value: jax.Array, *latents: jax.Array) -> jax.Array:
        """The log density ``(*batch, *entries)`` of values, given latents ``(*batch, *their shape)``."""
        value = value.astype(int if self._counts else float)
        arrays = [value, *(latent.astype(float) for latent in latents)]
        shapes = [self.entries + self.event, *map(tuple, self.distribution.latents.values())]
        # A value without the entries' dimensions is the same for all of them.
        arrays[0] = jnp.broadcast_to(value, np.broadcast_shapes(value.shape, shapes[0]))
        pairs = list(zip(arrays, shapes, strict=True))
        batch = jnp.broadcast_shapes(*(array.shape[: array.ndim - len(shape)] for array, shape in pairs))
        rows = [jnp.broadcast_to(array, batch + shape).reshape(-1, *shape) for array, shape in pairs]
        with warnings.catch_warnings():
            # Outside of double precision the record's own dtypes are cut to what JAX has.
            warnings.filterwarnings("ignore", message="Explicitly requested dtype")
            warnings.filterwarnings("ignore", message="overflow encountered in cast")
            found = self._replay(*rows)
        return found.reshape(*batch, *self.entries)

    def sample(self, seed: jax.Array, shape: tuple[int, ...], samples: int, *latents: jax.Array) -> jax.Array:
        """Draw ``shape``, whose first ``samples`` dimensions are independent draws."""
        draws = shape[:samples]

        def draw(seed: Any, *latents: Any) -> np.ndarray:
            with own_state(), torch.no_grad():
                torch.manual_seed(int(seed))
                given = [torch.tensor(np.asarray(latent), dtype=torch.float64) for latent in latents]
                drawn = self.distribution(*given).sample(draws)
            return drawn.expand(shape).numpy().astype(kind)

        # 64 bits do not survive the way back from a callback.
        kind = np.int32 if self._counts else np.float32
        result = jax.ShapeDtypeStruct(shape, kind)
        drawn = jax.pure_callback(draw, result, seed, *latents, vmap_method="sequential")
        return drawn.astype(int if self._counts else float)

    @property
    def _counts(self) -> bool:
        return bool(self.example.support.is_discrete)

    def _zeros(self) -> list[torch.Tensor]:
        return [torch.zeros(shape, dtype=torch.float64) for shape in self.distribution.latents.values()]


def _in_numpyro(support: torch_constraints.Constraint) -> Any:
    """A torch constraint as NumPyro's of the same meaning."""
    if isinstance(support, torch_constraints.independent):
        inner = _in_numpyro(support.base_constraint)
        return constraints.independent(inner, support.reinterpreted_batch_ndims)
    if support is torch_constraints.real:
        return constraints.real
    if support is torch_constraints.real_vector:
        return constraints.real_vector
    if support is torch_constraints.boolean:
        return constraints.boolean
    if isinstance(support, torch_constraints.interval):
        return constraints.interval(_number(support.lower_bound), _number(support.upper_bound))
    if isinstance(support, torch_constraints.integer_interval):
        return constraints.integer_interval(_number(support.lower_bound), _number(support.upper_bound))
    raise UnsupportedProgram(
        "family",
        got=f"the support {support}",
        expected="real numbers, an interval, or levels",
        fix='Write the program in Pyro: as_site(family, engine="pyro").',
    )


def _number(bound: Any) -> Any:
    return bound.numpy() if isinstance(bound, torch.Tensor) else bound
