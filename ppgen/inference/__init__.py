"""The shared layer: posteriors of a program, and training of a neural program.

The front doors are ``ppgen.infer`` and ``ppgen.train``. Posterior methods import JAX and training
imports torch, so each is imported when it is first used.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "AIS",
    "NUTS",
    "SMC",
    "SVI",
    "Auto",
    "Diagnostics",
    "Drawn",
    "Importance",
    "Laplace",
    "Method",
    "Pathfinder",
    "Posterior",
    "Rejection",
    "Request",
    "cite",
]

_HOMES = {
    "AIS": "ppgen.inference.ais",
    "Auto": "ppgen.inference.auto",
    "Diagnostics": "ppgen.inference.diagnostics",
    "Drawn": "ppgen.inference.method",
    "Importance": "ppgen.inference.importance",
    "Laplace": "ppgen.inference.laplace",
    "Method": "ppgen.inference.method",
    "NUTS": "ppgen.inference.nuts",
    "Pathfinder": "ppgen.inference.pathfinder",
    "Posterior": "ppgen.inference.posterior",
    "Rejection": "ppgen.inference.rejection",
    "Request": "ppgen.inference.method",
    "SMC": "ppgen.inference.smc",
    "SVI": "ppgen.inference.svi",
    "cite": "ppgen.inference.citations",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
