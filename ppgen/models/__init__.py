"""The families of generative models: each a program, one file a family."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["FAMILIES", "VAE", "NeuralSplineFlow", "Transformer", "describe", "load", "make", "save"]

_HOMES = {
    "Transformer": "ppgen.models.autoregressive",
    "VAE": "ppgen.models.vae",
    "NeuralSplineFlow": "ppgen.models.flow",
    "FAMILIES": "ppgen.models.catalog",
    "describe": "ppgen.models.catalog",
    "make": "ppgen.models.catalog",
    "load": "ppgen.models.files",
    "save": "ppgen.models.files",
}


def __getattr__(name: str) -> Any:
    # Only at first use: importing ppgen imports neither torch nor jax.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
