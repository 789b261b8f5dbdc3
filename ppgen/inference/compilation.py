"""A disk cache of compiled programs, shared between processes."""

from __future__ import annotations

import os
from pathlib import Path

import jax
from platformdirs import user_cache_dir

__all__ = ["CACHE_VARIABLE", "use_persistent_cache"]

CACHE_VARIABLE = "PPGEN_COMPILATION_CACHE"


def use_persistent_cache() -> Path | None:
    """Cache what XLA compiles in the user's cache directory, unless configured otherwise.

    The environment variable ``PPGEN_COMPILATION_CACHE`` names another directory, or turns the
    cache off with ``off``. A directory already set in JAX is kept.

    Returns:
        The directory in use, or ``None``.
    """
    choice = os.environ.get(CACHE_VARIABLE, "")
    if choice.lower() in ("off", "0", "no", "false"):
        return None
    in_use = jax.config.values["jax_compilation_cache_dir"]
    if in_use is not None:
        return Path(in_use)
    directory = Path(choice) if choice else Path(user_cache_dir("ppgen")) / "xla"
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return directory
