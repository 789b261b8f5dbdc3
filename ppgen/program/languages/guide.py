"""The optional part of a language for guides that a user writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ppgen.program.languages.statement import Place, Statement

__all__ = ["GuideProgram", "LoweredGuide"]

LoweredGuide = Callable[[list[Any], jax.Array, jax.Array, Mapping[str, Any]], Any]
"""A pure JAX function of data arrays, flat parameters ``(p,)``, a key, and values that are given by name."""


class GuideProgram(ABC):
    """A guide on its program's data, run in its language.

    Attributes:
        statements: those of one run.
        initial: its parameters at first ``(p,)``, unconstrained and flat.
    """

    statements: list[Statement]
    initial: np.ndarray

    @abstractmethod
    def run(self, data: Mapping[str, Any], place: Place) -> list[Statement]:
        """Run the guide within :meth:`lower`, with the values that ``place`` gives."""

    @abstractmethod
    def lower(
        self,
        evaluate: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        arrays: Mapping[str, np.ndarray],
        given: Mapping[str, Any],
    ) -> LoweredGuide:
        """A function that runs the guide, on arrays of the language, as a function on JAX's.

        Its parameters and random numbers are inputs that ``evaluate`` does not see.

        Args:
            evaluate: from the guide's arguments and given values to a tree of arrays.
            arrays: those of the data that are inputs; the others are constants.
            given: values that it can be evaluated at.

        Raises:
            UnsupportedProgram: if it cannot be done.
        """
