"""A guide in NumPyro: its parameters and key are given to it by handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to, constraints

from ppgen.program.family import Program
from ppgen.program.languages.guide import GuideProgram, LoweredGuide
from ppgen.program.languages.statement import Place, RunOptions, Statement

__all__ = ["NumPyroGuide"]


class NumPyroGuide(GuideProgram):
    """A guide with ``numpyro.param`` and ``numpyro.sample`` statements."""

    def __init__(self, language: Any, guide: Program, data: Mapping[str, Any], seed: int) -> None:
        self.language, self.data = language, data
        self.guide = language.in_full(guide, {})
        with handlers.trace() as messages, handlers.seed(rng_seed=seed):
            self.statements = self.run(data, lambda statement: None)
        params = {name: message for name, message in messages.items() if message["type"] == "param"}
        self._bijections = {
            name: biject_to(message["kwargs"].get("constraint", constraints.real))
            for name, message in params.items()
        }
        free = {
            name: jax.tree.map(lambda leaf, name=name: self._unconstrain(name, leaf), message["value"])
            for name, message in params.items()
        }
        flat, self._unravel = ravel_pytree(free)
        self.initial = np.asarray(flat, float)

    def run(self, data: Mapping[str, Any], place: Place) -> list[Statement]:
        return self.language.run(self.guide, data, place, RunOptions(parameters=True))

    def lower(
        self,
        evaluate: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        arrays: Mapping[str, np.ndarray],
        given: Mapping[str, Any],
    ) -> LoweredGuide:
        def lowered(
            values: list[Any], parameters: jax.Array, key: jax.Array, given: Mapping[str, Any]
        ) -> Any:
            data = {**self.data, **dict(zip(arrays, values, strict=True))}
            constrained = self._constrain(parameters)

            def substitute(message: Any) -> Any:
                return constrained.get(message["name"]) if message["type"] == "param" else None

            with (
                self.language.session(),
                handlers.seed(rng_seed=key),
                handlers.substitute(substitute_fn=substitute),
            ):
                return evaluate(data, given)

        return lowered

    def _constrain(self, flat: jax.Array) -> dict[str, Any]:
        free = self._unravel(flat)
        return {name: jax.tree.map(self._bijections[name], tree) for name, tree in free.items()}

    def _unconstrain(self, name: str, leaf: Any) -> jax.Array:
        return jnp.asarray(self._bijections[name].inv(jnp.asarray(leaf, float)))
