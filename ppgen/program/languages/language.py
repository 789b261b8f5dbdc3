"""What a language of programs is: one object, whose parts say how programs written in it are run.

Everything that ppgen does with a program is written once, on what a language gives back here. Values stay
arrays of the language's own kind until a program is traced or lowered; from there on everything is JAX.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from ppgen.errors import UnknownName

__all__ = ["Language", "find_language", "language_names", "register_language"]


class Language(ABC):
    """A language that programs are written in.

    Attributes:
        name: as ``engine=`` calls it.
        title: as a person writes it.
        arrays: the library of its arrays, ``"jax"`` or ``"torch"``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    arrays: ClassVar[str] = "jax"


# The adapters that come with ppgen; one is imported when a program of its language is read.
_OURS = ("numpyro", "pyro")
_REGISTERED: dict[str, Language] = {}


def register_language(language: Language) -> None:
    """Make a language known, so that its programs are recognised."""
    _REGISTERED[language.name] = language


def language_names() -> Iterator[str]:
    """The names of all languages, whether their adapters are imported or not."""
    yield from dict.fromkeys((*_OURS, *_REGISTERED))


def find_language(name: str) -> Language:
    """The language of this name.

    Raises:
        UnknownName: if there is none.

    Example:
        >>> find_language("numpyro").title
        'NumPyro'
    """
    if name not in _REGISTERED:
        if name not in _OURS:
            raise UnknownName("engine", name, language_names())
        register_language(import_module(f"ppgen.program.languages.{name}").LANGUAGE)
    return _REGISTERED[name]
