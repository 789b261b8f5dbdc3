"""Pyro, as a language of programs."""

from __future__ import annotations

from typing import ClassVar

from ppgen.program.languages.language import Language

__all__ = ["LANGUAGE"]


class Pyro(Language):
    """Programs in Pyro, on torch."""

    name: ClassVar[str] = "pyro"
    title: ClassVar[str] = "Pyro"
    arrays: ClassVar[str] = "torch"


LANGUAGE = Pyro()
