"""A language of its own: a program calls ``sample`` of this file. It has none of the optional parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.stats import expon, norm
from numpyro.distributions.transforms import ExpTransform, IdentityTransform

from ppgen.program.languages.language import Language
from ppgen.program.languages.statement import PLAIN, Place, RunOptions, Statement

_RUNNING: list[Callable[..., Any]] = []


def sample(name: str, distribution: Any, obs: Any = None) -> Any:
    """A statement: the value of a random variable, or what was observed of it."""
    return _RUNNING[-1](name, distribution, obs)


@contextmanager
def running(handler: Callable[..., Any]) -> Iterator[None]:
    """Have a function answer the statements of programs."""
    _RUNNING.append(handler)
    try:
        yield
    finally:
        _RUNNING.pop()


@dataclass
class Normal:
    """A normal distribution."""

    loc: Any = 0.0
    scale: Any = 1.0
    bijection: ClassVar[Any] = IdentityTransform()
    support: ClassVar[str] = "real"

    @property
    def shape(self) -> tuple[int, ...]:
        return jnp.broadcast_shapes(jnp.shape(self.loc), jnp.shape(self.scale))

    def log_prob(self, x: Any) -> jax.Array:
        return norm.logpdf(x, self.loc, self.scale)

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return self.loc + self.scale * jax.random.normal(key, shape)


@dataclass
class Exponential:
    """An exponential distribution."""

    rate: Any = 1.0
    bijection: ClassVar[Any] = ExpTransform()
    support: ClassVar[str] = "positive"

    @property
    def shape(self) -> tuple[int, ...]:
        return jnp.shape(self.rate)

    def log_prob(self, x: Any) -> jax.Array:
        return expon.logpdf(x, scale=1 / jnp.asarray(self.rate))

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.exponential(key, shape) / self.rate


class ToyStatement(Statement):
    """One call of ``sample``."""

    value: Any = None  # as an attribute: nothing computes it

    def __init__(self, name: str, distribution: Any, obs: Any) -> None:
        self.name, self.kind, self.value = name, distribution, obs
        self.role = "latent" if obs is None else "observed"
        self.distribution, self.support = type(distribution).__name__, distribution.support

    @property
    def shape(self) -> tuple[int, ...]:
        return self.kind.shape if self.value is None else jnp.shape(self.value)

    def bijection(self) -> Any:
        return self.kind.bijection

    def log_prob(self) -> jax.Array:
        return self.kind.log_prob(self.value)


class Toy(Language):
    """Programs that call ``sample``."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "Toy"

    def probe(self, found: Callable[[], Any]) -> Any:
        return running(lambda *statement: found())

    def run(
        self, program: Callable[..., Any], data: Any, place: Place, options: RunOptions = PLAIN
    ) -> list[Statement]:
        statements: list[ToyStatement] = []

        def answer(name: str, distribution: Any, obs: Any = None) -> Any:
            statement = ToyStatement(name, distribution, obs)
            statement.redrawn = options.redraw and obs is not None
            if obs is None:
                statement.value = place(statement)
            if statement.value is None or statement.redrawn:
                own = jax.random.fold_in(options.key, len(statements))
                statement.value = distribution.draw(own, statement.shape)
            statements.append(statement)
            return statement.value

        with running(answer):
            program(**data)
        return list(statements)
