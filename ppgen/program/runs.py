"""A program, run in its other directions: from values to the point, from the prior, and forward to data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ppgen.program.family import Program
from ppgen.program.languages.statement import Place, RunOptions, Statement
from ppgen.program.reading import Reading, anywhere

__all__ = ["Runs"]


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of one program.

    Attributes:
        reading: the program, with the rows of its plates to read.
        program: the program itself.
    """

    reading: Reading
    program: Program

    def invert(self, values: Mapping[str, Any]) -> jax.Array:
        """The point ``(dim,)`` at which the latent sites have these values."""
        reading, language = self.reading, self.reading.language
        with language.session():
            given = {name: language.array(value) for name, value in values.items()}
            place = _lookup(given, anywhere(language, np.zeros))
            return self._unconstrained(language.run(reading.program, language.arguments(reading.data), place))

    def draw_prior(self, seed: int, n: int) -> np.ndarray:
        """Draws of the latent sites from their priors ``(n, dim)``.

        Raises:
            UnsupportedProgram: if a prior cannot be drawn from.
        """
        reading, language = self.reading, self.reading.language

        def one(key: Any, _: Any) -> jax.Array:
            return self._unconstrained(language.run(reading.program, arguments, _draw, RunOptions(key)))

        with language.session():
            arguments = language.arguments(reading.data)
            return language.repeat(one, seed, n, {})

    def simulate(
        self, seed: int, values: Mapping[str, np.ndarray], data: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """The observed sites, drawn at each of these values of latent sites ``(n, *shape)``.

        Args:
            seed: of the draws.
            values: of latent sites; the others are drawn from their priors given these.
            data: other arguments of the program than those that it was read with.
        """
        reading, language = self.reading, self.reading.language
        program = reading.program if data is None else language.in_full(self.program, {})

        def one(key: Any, values: Mapping[str, Any]) -> dict[str, Any]:
            statements = language.run(
                program, arguments, _lookup(values, _draw), RunOptions(key, redraw=True)
            )
            return {statement.name: statement.value for statement in statements if statement.redrawn}

        with language.session():
            arguments = language.arguments(reading.data if data is None else data)
            return language.repeat(one, seed, len(next(iter(values.values()))), values)

    def _unconstrained(self, statements: list[Statement]) -> jax.Array:
        """The point ``(dim,)`` at which a run had its latent sites."""
        by_name = {statement.name: statement for statement in statements}
        sites = [by_name[latent.name] for latent in self.reading.latents]
        return self.reading.language.concatenate(
            [site.bijection().inv(site.value).reshape(-1) for site in sites]
        )


def _lookup(values: Mapping[str, Any], otherwise: Place) -> Place:
    return lambda statement: values[statement.name] if statement.name in values else otherwise(statement)


def _draw(statement: Statement) -> None:
    """Leaves a statement to its language, which draws it from its prior."""
