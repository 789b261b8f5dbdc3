"""The families of generative models: each a program, one file a family."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ppgen.models.index import FAMILIES

if TYPE_CHECKING:
    from ppgen.models.files import load as load
    from ppgen.models.files import save as save
    from ppgen.models.index import *  # noqa: F403
    from ppgen.models.registry import describe as describe
    from ppgen.models.registry import make as make

_CLASSES = {entry.class_name: entry.module for entry in FAMILIES.values()}
_FUNCTIONS = {
    "describe": "ppgen.models.registry",
    "load": "ppgen.models.files",
    "make": "ppgen.models.registry",
    "save": "ppgen.models.files",
}

__all__ = ["FAMILIES", *_CLASSES, *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    # Only at first use: importing ppgen imports neither torch nor jax.
    home = _CLASSES.get(name) or _FUNCTIONS.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
