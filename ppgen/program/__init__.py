"""What a program is: its language, its sites, its density, and the bounds that a guide gives."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["detect_engine", "read_density", "read_sites", "register_language"]

_HOMES = {
    "detect_engine": "ppgen.program.languages.detect",
    "read_density": "ppgen.program.read",
    "read_sites": "ppgen.program.read",
    "register_language": "ppgen.program.languages.language",
}


def __getattr__(name: str) -> Any:
    # Only at first use: importing ppgen imports neither torch nor jax.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
