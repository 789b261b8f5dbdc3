"""The families by name: built-in ones from a generated index, a user's own by their classes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ppgen.checks import check_choice
from ppgen.errors import UnknownName
from ppgen.models.family import Family
from ppgen.models.index import FAMILIES
from ppgen.models.settings import from_text

__all__ = ["FAMILIES", "describe", "family_class", "make", "parsed_settings", "sampling_options"]


def describe() -> dict[str, str]:
    """One line per family: what it is, and the kind of its likelihood."""
    return {name: entry.summary for name, entry in FAMILIES.items()}


def family_class(name: str) -> Any:
    """The class of a family, imported on first use; a user's own once its class is defined.

    Raises:
        UnknownName: if there is no such family.
    """
    if name in FAMILIES:
        return getattr(importlib.import_module(FAMILIES[name].module), FAMILIES[name].class_name)
    own = {each.name: each for each in _defined(Family) if not inspect.isabstract(each)}
    if name not in own:
        raise UnknownName("family", name, [*FAMILIES, *own])
    return own[name]


def make(name: str, shape: tuple[int, ...], levels: int | None = None, **settings: Any) -> Any:
    """Build a family by name.

    Args:
        name: one of :func:`describe`, or a family of the user's own.
        shape, levels: of the data.
        settings: the constructor's own arguments, as values or as text from a command line.

    Raises:
        UnknownName: if there is no such family, or it has no such setting.
        InvalidArgument: if a setting is of the wrong type or out of range.

    Example:
        >>> vae = make("vae", (8, 8), levels=17, latent_dim="8", hidden="64,32")
        >>> vae.config["latent_dim"], vae.config["hidden"]
        (8, (64, 32))
    """
    family = family_class(name)
    return family(shape, levels, **parsed_settings(family, settings))


def parsed_settings(family: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A family's settings, of which some may be text from a command line."""
    declared = family.Settings.declared
    return {
        name: _value(value, declared[name].kind if name in declared else Any)
        for name, value in settings.items()
    }


def sampling_options(family: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a family's ``sample``, of which some may be text from a command line.

    Raises:
        UnknownName: if the family has no such option.

    Example:
        >>> transformer = make("transformer", (4,), 2)
        >>> sampling_options(transformer, {"temperature": "0.8", "top_k": "none"})
        {'temperature': 0.8, 'top_k': None}
    """
    parameters = inspect.signature(family.sample).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"]
    return {check_choice("setting", name, known): _value(value) for name, value in options.items()}


def _value(value: Any, kind: Any = Any) -> Any:
    return from_text(value, kind) if isinstance(value, str) else value


def _defined(family: type) -> Iterator[Any]:
    """All classes that derive from a family, a later one of the same name last."""
    each: Any
    for each in family.__subclasses__():
        yield each
        yield from _defined(each)
