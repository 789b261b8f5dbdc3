"""How XLA is asked to compile: soon, since a posterior's loops take longer to compile than to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax

__all__ = ["AT_ONCE", "jit"]

AT_ONCE = {"xla_backend_optimization_level": 0}
"""For what runs a few times, and need not run fast."""

# XLA's newer code for fused loops on CPUs takes up to half of the compilation of a log density with its
# gradient, and does not run faster: NUTS on the nine reference posteriors took as long to sample without it.
_SOON = {"xla_cpu_use_fusion_emitters": False}


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """``jax.jit``, compiled soon.

    JAX does not let what has options of its own be called inside another ``jax.jit``: there, call
    ``inspect.unwrap`` of it, the plain function.

    Example:
        >>> jit(lambda x: 2 * x)(3)
        Array(6, dtype=int32, weak_type=True)
    """
    return jax.jit(function, compiler_options=_known_options(), **options)


@lru_cache(maxsize=1)
def _known_options() -> dict[str, Any] | None:
    """The options, if this version of XLA has them."""
    try:
        jax.jit(lambda x: x, compiler_options=_SOON).lower(0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return _SOON
