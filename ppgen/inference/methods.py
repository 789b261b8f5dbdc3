"""The posterior methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from ppgen.errors import UnknownName
from ppgen.inference.method import Method

__all__ = ["METHODS", "make_method"]

# The file and the class of each method; a file is imported when its method is first used.
METHODS = {
    "nuts": ("nuts", "NUTS"),
    "svi": ("svi", "SVI"),
    "laplace": ("laplace", "Laplace"),
    "pathfinder": ("pathfinder", "Pathfinder"),
    "importance": ("importance", "Importance"),
    "rejection": ("rejection", "Rejection"),
    "smc": ("smc", "SMC"),
    "ais": ("ais", "AIS"),
    "auto": ("auto", "Auto"),
}


def make_method(name: str, options: Mapping[str, Any]) -> Method:
    """A method with its options, each name checked.

    Raises:
        UnknownName: if there is no such method or option.

    Example:
        >>> make_method("nuts", {"target_accept": 0.9}).target_accept
        0.9
    """
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    file, kind = METHODS[name]
    method = getattr(import_module(f"ppgen.inference.{file}"), kind)
    known = [field.name for field in fields(method)]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of method {name!r}", option, known)
    return method(**options)
