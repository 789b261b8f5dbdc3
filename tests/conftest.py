"""Runtime shape and type checks on all of ppgen, switched on before it is first imported."""

import json
import os
import sys
from pathlib import Path

import jaxtyping
import pytest
from jaxtyping import install_import_hook
from platformdirs import user_cache_dir

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes share the cores

# What one test compiles no other process compiles again, nor the next run: in the directory that ppgen uses
# from its first fit on, and here from the start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(user_cache_dir("ppgen")) / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

install_import_hook("ppgen", "beartype.beartype")

_POSTERIORS = Path(__file__).resolve().parents[2] / "shared" / "posteriors"


@pytest.fixture(scope="session")
def reference():
    """Read a reference posterior by name: its data and its answers. They lie beside the repository."""

    def read(name):
        path = _POSTERIORS / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no reference posterior {name}: shared/posteriors is not beside this repository")
        content = json.loads(path.read_text())
        return content["data"], content["reference"]

    return read


@pytest.fixture(scope="module", autouse=True)
def _forget_what_was_compiled():
    """XLA's code stays mapped as long as JAX keeps it; thousands of functions exhaust a process."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def wrong_types():
    """Switch the runtime type checks off, to see the errors that a user sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
