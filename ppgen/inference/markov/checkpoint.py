"""The checkpoint file of a long run, from which a later call can resume."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ppgen.errors import StorageError
from ppgen.storage import Stored, check_writable, read, write

__all__ = ["Checkpoint", "fingerprint"]

_SECONDS = 30.0  # between two writes, at least


def fingerprint(*parts: Any) -> str:
    """A digest of everything that determines a run: text, numbers, and trees of arrays.

    Example:
        >>> fingerprint("nuts", {"y": np.ones(3)}) == fingerprint("nuts", {"y": np.ones(3)})
        True
        >>> fingerprint("nuts", {"y": np.ones(3)}) == fingerprint("nuts", {"y": np.zeros(3)})
        False
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(parts):
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(str(leaf).encode() if array.dtype.kind in "USO" else array.tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The arrays of one run, in one file that is replaced whole.

    Args:
        path: the file; ``None`` keeps nothing.
        run: the :func:`fingerprint` of the run that it belongs to.

    Raises:
        StorageError: if the path cannot be written, or holds the checkpoint of another run.
    """

    def __init__(self, path: str | Path | None, run: str) -> None:
        self._path = None if path is None else check_writable(path)
        self._run = run
        self._written = time.monotonic()

    def load(self) -> Mapping[str, np.ndarray] | None:
        """The stored state, or ``None`` on the first call."""
        if self._path is None or not self._path.exists():
            return None
        stored = read(self._path)
        if stored.document.get("run") != self._run:
            raise StorageError(
                "checkpoint",
                got=f"{self._path}, which another run has written",
                expected="the checkpoint of this program with this data, these options and this seed",
                fix="Pass another path, or delete the file to start again.",
            )
        return stored.tensors

    @property
    def wanted(self) -> bool:
        """Whether there is a file to keep."""
        return self._path is not None

    def is_due(self) -> bool:
        """Whether the last write is long enough ago."""
        return self.wanted and time.monotonic() - self._written > _SECONDS

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the file by these arrays."""
        if self._path is not None:
            write(self._path, Stored(arrays, {"run": self._run}))
            self._written = time.monotonic()
