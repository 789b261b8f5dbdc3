"""What reproduces a posterior: a program's source, the call that made a posterior, versions."""

from __future__ import annotations

import hashlib
import inspect
import platform
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ppgen.inference.method import Method
from ppgen.inference.methods import is_registered
from ppgen.inference.posterior import Posterior

__all__ = ["call_of", "made_with", "source_of"]

_PACKAGES = ("ppgen", "torch", "pyro-ppl", "zuko", "jax", "numpyro", "blackjax", "arviz", "numpy")
_FEW = 60  # numbers that a call still spells out


def source_of(program: Any) -> str:
    """A program's source without its docstring; a comment where Python does not know the source.

    Example:
        >>> def program(y):
        ...     "What it says."
        ...     return y
        >>> source_of(eval("lambda y: y"))
        '# The source of <lambda> is not known: it was not read from a file.'
    """
    function = program if inspect.isroutine(program) or inspect.isclass(program) else type(program)
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return f"# The source of {_name(program)} is not known: it was not read from a file."
    docstring = function.__doc__ or ""
    start = source.find(docstring) if docstring else -1
    if start < 0:
        return source
    opening = source.rindex("\n", 0, start)
    return source[:opening] + source[source.index("\n", start + len(docstring)) :]


def call_of(post: Posterior) -> str:
    """The Python that reproduces a posterior.

    Small data stand in it; large arrays by shape, type and the beginning of their SHA-256.
    """
    program, request = post.density.program, post.request
    home = getattr(program, "__module__", None)
    importable = home not in (None, "__main__") and "<" not in getattr(program, "__qualname__", "<")
    name = _name(program) if importable else "program"
    data = "".join(f"    {key!r}: {_literal(value)},\n" for key, value in post.data.items())
    counts = f"draws={request.draws}, tune={request.tune}, chains={request.chains}, seed={request.seed}"
    method, options = _method(post.settings)
    return (
        "import numpy as np\nimport ppgen\n"
        + (f"from {home} import {name}\n\n" if importable else "\n# program is what stands above\n")
        + f"data = {{\n{data}}}\n"
        + f"post = ppgen.infer(\n    {name},\n    data,\n    method={method},\n"
        + f"    {counts},\n{options})\n"
    )


def made_with(seed: int | None = None, **more: object) -> dict[str, object]:
    """Versions, seed and machine, for the foot of a page.

    Example:
        >>> list(made_with(seed=3))[:2]
        ['seed', 'machine']
    """
    found: dict[str, object] = dict(more)
    if seed is not None:
        found["seed"] = seed
    found["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _name(program: Any) -> str:
    return getattr(program, "__name__", type(program).__name__)


def _method(settings: Method) -> tuple[str, str]:
    """What stands for a method in a call, and the lines of its options."""
    options = list(_options(settings))
    if is_registered(settings):
        return repr(settings.name), "".join(f"    {key}={value},\n" for key, value in options)
    # One of the user's own is an object.
    return f"{type(settings).__name__}({', '.join(f'{key}={value}' for key, value in options)})", ""


def _options(settings: Method) -> Iterator[tuple[str, str]]:
    """The method's options that are not at their defaults."""
    if not is_dataclass(settings):
        return
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is not _default(field) and value != _default(field):
            yield field.name, repr(value) if not callable(value) else _name(value)


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_literal(part)}" for key, part in value.items()) + "}"
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.ndim == 0:
        return repr(value.item())
    if value.size <= _FEW:
        numbers = np.array2string(value, separator=", ", threshold=_FEW + 1, floatmode="unique")
        return f"np.array({' '.join(numbers.split())}, {str(value.dtype)!r})"
    digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]
    return f"...  # {value.dtype} of shape {value.shape}, SHA-256 {digest}…"
