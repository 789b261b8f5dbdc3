"""The ``.ppgen`` file: tensors and a JSON document in one safetensors file, never pickle.

A reader of the file runs no code of whoever wrote it. Tensors keep their bits, so that what is loaded
computes the same numbers as what was saved.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppgen.errors import StorageError

__all__ = ["FORMAT", "Stored", "check_writable", "read", "write", "write_text"]

FORMAT = 1
"""The version of the file format that this ppgen writes, and the newest that it reads."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What a ``.ppgen`` file holds.

    Attributes:
        tensors: arrays by name.
        document: the JSON value that says what the tensors are.
        version: of the ppgen that wrote it.
    """

    tensors: Mapping[str, np.ndarray]
    document: Mapping[str, Any]
    version: str = "unknown"


def write(path: str | os.PathLike[str], content: Stored) -> Path:
    """Write a ``.ppgen`` file, whole or not at all.

    Args:
        path: where to; an existing file is replaced only once the new one is complete.
        content: the tensors, and a document of JSON values.

    Returns:
        The path.

    Raises:
        StorageError: if the path cannot be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write(f"{folder}/pi.ppgen", Stored({"pi": np.array([3.14])}, {"family": "circle"}))
        ...     read(path).document["family"], read(path).tensors["pi"]
        ('circle', array([3.14]))
    """
    from safetensors.numpy import save

    path = check_writable(path)
    header = {
        "format": FORMAT,
        "ppgen": _version(),
        "document": content.document,
    }
    # np.array rather than np.ascontiguousarray, which would turn a scalar into a vector.
    tensors = {name: np.array(array, order="C") for name, array in content.tensors.items()}
    _replace(path, save(tensors, metadata={"ppgen": json.dumps(header, allow_nan=False)}))
    return path


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file (a page, a JSON document), whole or not at all.

    Raises:
        StorageError: if the path cannot be written.
    """
    path = check_writable(path)
    _replace(path, text.encode("utf-8"))
    return path


def read(path: str | os.PathLike[str]) -> Stored:
    """Read a ``.ppgen`` file.

    Raises:
        StorageError: if the file is missing, truncated, not a ``.ppgen`` file, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise _unreadable(path, "which is no file", "Check the path; save(model, path) writes one.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("ppgen", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError) as error:
        reason = f"which is truncated or of another format ({error})"
        raise _unreadable(path, reason, "Copy it again, or save the model again.") from error
    return Stored(tensors, _document(path, header), header.get("ppgen", "unknown"))


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Refuse a path that cannot be written, before hours of training rather than after.

    Raises:
        StorageError: if the path is a folder, or its folder is missing or read-only.
    """
    path = Path(path)
    if path.is_dir():
        raise _unwritable(path, "which is a folder", f"Write {path / 'model.ppgen'}.")
    if not path.parent.is_dir():
        raise _unwritable(path, "whose folder does not exist", f"Make it first: mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "whose folder is read-only", "Choose another folder.")
    return path


def _replace(path: Path, payload: bytes) -> None:
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(payload)
            os.chmod(name, 0o666 & ~_umask())  # mkstemp's file is the owner's alone
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
    except OSError as error:
        raise _unwritable(path, f"which cannot be written ({error})", "Choose another path.") from error


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _document(path: Path, header: Any) -> Mapping[str, Any]:
    if not isinstance(header, dict) or not isinstance(header.get("document"), dict):
        raise _unreadable(path, "a safetensors file that ppgen did not write", "Give a file of ppgen.save.")
    if header["format"] > FORMAT:
        raise _unreadable(
            path,
            f"of format {header['format']}, written by ppgen {header.get('ppgen')}",
            "Upgrade: pip install --upgrade ppgen",
        )
    return header["document"]


def _version() -> str:
    try:
        return importlib.metadata.version("ppgen")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"


def _unreadable(path: Path, reason: str, fix: str) -> StorageError:
    expected = f"a .ppgen file of format {FORMAT} or older"
    return StorageError("path", got=f"{path}, {reason}", expected=expected, fix=fix)


def _unwritable(path: Path, reason: str, fix: str) -> StorageError:
    return StorageError("path", got=f"{path}, {reason}", expected="a path that can be written", fix=fix)
