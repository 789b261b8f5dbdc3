"""Datasets from a user's .npy, .npz and .csv files, never through pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ppgen.data.dataset import Dataset, Labels, as_dataset
from ppgen.data.lazy import LIMIT
from ppgen.data.rows import as_array, as_labels
from ppgen.errors import DataError, InvalidArgument, PpgenError, StorageError, UnknownName

__all__ = ["read_dataset"]


def read_dataset(
    path: Path,
    *,
    levels: int | None,
    splits: tuple[float, float, float],
    seed: int,
    labels: Any = None,
    lazy: bool | None = None,
) -> Dataset:
    """Read a dataset from a file; a ``.npz`` with ``train``, ``valid`` and ``test`` keeps its own splits.

    Its labels are ``train_labels`` and so on, or ``labels`` next to a single array. A large ``.npy`` file is
    memory-mapped instead of read, and so is a small one if ``lazy`` is set; it has no labels of its own.
    """
    if path.suffix.lower() == ".npy":
        rows = _read(path, lazy)[path.stem]
        return as_dataset(rows, levels=levels, labels=labels, splits=splits, seed=seed, name=path.stem)
    _refuse_labels(labels)
    _refuse_lazy(path, lazy)
    arrays = _read(path)
    if {"train", "valid", "test"} <= arrays.keys():
        train, valid, test = (
            as_array(arrays[k], argument=f"{path.name}[{k}]") for k in ("train", "valid", "test")
        )
        labels = _read_labels(arrays)
        if train.dtype.kind == "f" and levels is None:
            return Dataset(path.stem, train, valid, test, "continuous", None, str(path), labels)
        top = max(int(rows.max(initial=1)) for rows in (train, valid, test))
        train, valid, test = (rows.astype(np.int64) for rows in (train, valid, test))
        return Dataset(path.stem, train, valid, test, "discrete", levels or top + 1, str(path), labels)
    own = arrays.pop("labels", None)
    rows = _only_array(arrays, path)
    return as_dataset(rows, levels=levels, labels=own, splits=splits, seed=seed, name=path.stem)


def _refuse_labels(labels: Any) -> None:
    if labels is not None:
        raise InvalidArgument(
            "labels",
            got="labels with a file",
            expected="labels inside the file, or with a .npy file or an array",
            fix="Write np.savez(path, rows=rows, labels=labels), or load the array first.",
        )


def _refuse_lazy(path: Path, lazy: bool | None) -> None:
    if lazy:
        raise InvalidArgument(
            "lazy",
            got=f"a {path.suffix} file with lazy=True",
            expected="a .npy file, or a folder of images",
            fix="Write np.save('rows.npy', rows) once, and load that.",
        )


def _read_labels(arrays: dict[str, np.ndarray]) -> Labels | None:
    splits = [f"{split}_labels" for split in ("train", "valid", "test")]
    if not arrays.keys() >= set(splits):
        return None
    train, valid, test = (as_labels(arrays[name], None, argument=name) for name in splits)
    return Labels(train, valid, test, max(int(split.max(initial=0)) for split in (train, valid, test)) + 1)


def _read(path: Path, lazy: bool | None = False) -> dict[str, np.ndarray]:
    readers = {".npy": lambda path: _read_npy(path, lazy), ".npz": _read_npz, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UnknownName("data", path.suffix or str(path), readers)
    try:
        return readers[path.suffix.lower()](path)
    except FileNotFoundError:
        raise StorageError(
            "data", got=f"{path}, which does not exist", expected="a readable file", fix="Check the path."
        ) from None
    except PpgenError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise StorageError(
            "data",
            got=f"{path}, which cannot be read ({error})",
            expected=f"a {path.suffix} file of plain numbers",
            fix="Rewrite it with np.save, np.savez or DataFrame.to_csv(index=False).",
        ) from error


def _read_npy(path: Path, lazy: bool | None) -> dict[str, np.ndarray]:
    # A number takes at least one byte in the file, and eight once it is read.
    if lazy or (lazy is None and 8 * path.stat().st_size > LIMIT):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if lazy or 8 * mapped.size > LIMIT:
            return {path.stem: mapped}
    return {path.stem: np.load(path, allow_pickle=False)}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    import pandas

    first = pandas.read_csv(path, header=None, nrows=1)
    has_header = not all(_is_number(cell) for cell in first.iloc[0])
    table = pandas.read_csv(path, header=0 if has_header else None)
    text = [str(c) for c in table.columns if table[c].dtype.kind not in "buif"]
    if text:
        raise DataError(
            "data",
            got=f"{path.name} with columns that are not numbers: {', '.join(text[:5])}",
            expected="numeric columns",
            fix="Drop them or encode them as integers first.",
        )
    return {path.stem: table.to_numpy()}


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _only_array(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    if len(arrays) != 1:
        raise DataError(
            "data",
            got=f"{path.name} with arrays {sorted(arrays)}",
            expected="one array, or the three arrays train, valid and test",
            fix="Save one array, or name the splits: np.savez(path, train=..., valid=..., test=...).",
        )
    return next(iter(arrays.values()))
