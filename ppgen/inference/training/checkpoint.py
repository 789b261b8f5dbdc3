"""Checkpoints of a training run, from which a later call can resume."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument, StorageError
from ppgen.storage import Stored, read, write

__all__ = ["Checkpoint", "digest"]

_FILE = "training.ppgen"
_State = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]


class Checkpoint:
    """One file in a folder, replaced whole every few minutes.

    Args:
        folder: where; created if missing. ``None`` keeps nothing.
        run: a description of the training run, as JSON values: only a run with the same one may resume.
        minutes: the least time between two writes.
        resume: continue from what the folder holds.

    Raises:
        StorageError: if the folder cannot be written, holds a training although ``resume`` is not set,
            or that of another run.
        InvalidArgument: if ``resume`` is set without a folder.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, run: Mapping[str, Any], *, minutes: float, resume: bool
    ) -> None:
        if folder is None and resume:
            raise InvalidArgument(
                "resume",
                got="resume without a checkpoint",
                expected="the folder of the checkpoint",
                fix="Write checkpoint='run', resume=True.",
            )
        self._path = None if folder is None else _prepare(Path(folder)) / _FILE
        self._run, self._minutes = run, minutes
        self._stored = self._find(resume)
        self._written = time.monotonic()

    def load(self) -> Stored | None:
        """The state that an earlier call left, or ``None``."""
        return self._stored

    def is_due(self) -> bool:
        """Whether the last write is long enough ago."""
        return self._path is not None and time.monotonic() - self._written >= 60 * self._minutes

    def save(self, state: Callable[[], _State]) -> None:
        """Replace the file by a state."""
        if self._path is not None:
            arrays, document = state()
            write(self._path, Stored(arrays, {"run": dict(self._run), "loop": dict(document)}))
            self._written = time.monotonic()

    def _find(self, resume: bool) -> Stored | None:
        if self._path is None or not self._path.exists():
            return None  # a run killed before its first checkpoint starts from scratch
        if not resume:
            raise StorageError(
                "checkpoint",
                got=f"{self._path.parent}, which holds a training already",
                expected="an empty folder, or resume=True to continue",
                fix="Write resume=True (--resume), or give another folder.",
            )
        stored = read(self._path)
        self._check_same_run(stored.document.get("run", {}))
        return Stored(stored.tensors, stored.document["loop"])

    def _check_same_run(self, before: Mapping[str, Any]) -> None:
        now = _as_json(self._run)
        changed = [name for name in {**now, **before} if now.get(name) != before.get(name)]
        if changed:
            name = changed[0]
            raise StorageError(
                "checkpoint",
                got=f"{self._path}, of a training with {name}={before.get(name)!r}",
                expected=f"{name}={now.get(name)!r}, as in this call",
                fix="Resume with the original settings, or pass another folder.",
            )


def digest(*arrays: RowArray | None) -> str:
    """A short digest of arrays, to recognise them by."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            for row in array:
                digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()[:16]


def _as_json(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value))


def _prepare(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "checkpoint",
            got=f"{folder}, which cannot be made ({error})",
            expected="a folder that can be written",
            fix="Choose another folder.",
        ) from error
    return folder
