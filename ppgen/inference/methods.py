"""The posterior methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from ppgen.checks import check_choice, check_options
from ppgen.errors import InvalidArgument
from ppgen.inference.method import Method

__all__ = ["METHODS", "is_registered", "make_method"]

# The file and the class of each method; a file is imported on first use of its method.
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


def make_method(method: str | Method, options: Mapping[str, Any]) -> Method:
    """Return a method by name and options, each name checked; or the given object.

    Raises:
        UnknownName: if there is no such method or option.
        InvalidArgument: if options are given with an object, or it is not a method.

    Example:
        >>> make_method("nuts", {"target_accept": 0.9}).target_accept
        0.9
    """
    if isinstance(method, str):
        kind = _class_of(check_choice("method", method, METHODS))
        check_options(f"method {method!r}", options, [field.name for field in fields(kind)])
        return kind(**options)
    if isinstance(method, type) or not isinstance(method, Method):
        what = method if isinstance(method, type) else type(method)
        raise InvalidArgument(
            "method",
            got=f"the class {what.__name__}" if method is what else f"a {what.__name__}",
            expected="the name of a method, or an object with name, draw and diagnose",
            fix=f"Write method={what.__name__}()." if method is what else 'Write method="nuts".',
        )
    for option, value in options.items():
        kind_name = type(method).__name__
        raise InvalidArgument(
            option,
            got="an option next to a method that has been made",
            expected="options inside of the method",
            fix=f"Write method={kind_name}({option}={value!r}).",
        )
    return method


def is_registered(method: Method) -> bool:
    """Whether the method's name alone, with its options, makes it again.

    Example:
        >>> is_registered(make_method("laplace", {}))
        True
    """
    return method.name in METHODS and type(method) is _class_of(method.name)


def _class_of(name: str) -> Any:
    file, kind = METHODS[name]
    return getattr(import_module(f"ppgen.inference.{file}"), kind)
