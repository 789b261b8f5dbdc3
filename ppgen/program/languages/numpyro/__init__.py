"""NumPyro, as a language of programs."""

from __future__ import annotations

from typing import ClassVar

from ppgen.program.languages.language import Language

__all__ = ["LANGUAGE"]


class NumPyro(Language):
    """Programs in NumPyro, on JAX."""

    name: ClassVar[str] = "numpyro"
    title: ClassVar[str] = "NumPyro"
    arrays: ClassVar[str] = "jax"


LANGUAGE = NumPyro()
