"""The shared layer: posteriors of a program, and training of a neural program.

The front doors are ``ppgen.infer`` and ``ppgen.train``. Posterior methods import JAX and training
imports torch, so each is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__all__ = ["NUTS", "Diagnostics", "Posterior"]

_HOMES = {
    "NUTS": "ppgen.inference.nuts",
    "Diagnostics": "ppgen.inference.diagnostics",
    "Posterior": "ppgen.inference.posterior",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
