"""The history of a training, streamed into a CSV file or TensorBoard."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ppgen.errors import InvalidArgument
from ppgen.inference.training.loop import Reporter
from ppgen.inference.training.run import EpochRecord
from ppgen.storage import check_writable

__all__ = ["Log"]


class Log:
    """The destination of the history: a ``.csv`` file, or a folder for TensorBoard.

    Args:
        path: a path ending in ``.csv``, a folder, or ``None`` for no log.

    Raises:
        StorageError: if the file cannot be written.
        InvalidArgument: if TensorBoard is wanted and not installed.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        if self._path is not None and self._path.suffix == ".csv":
            check_writable(self._path)
        elif self._path is not None:
            _summary_writer()

    @contextmanager
    def reporting(self, bar: Reporter) -> Iterator[Reporter]:
        """A reporter that updates the bar and logs each epoch."""
        if self._path is None:
            yield bar
        elif self._path.suffix == ".csv":
            yield _Csv(bar, self._path)
        else:
            writer = _summary_writer()(str(self._path))
            try:
                yield _TensorBoard(bar, writer)
            finally:
                writer.close()


class _Csv:
    """One line per epoch; a resumed run appends to the file."""

    def __init__(self, bar: Reporter, path: Path) -> None:
        self._bar, self._path = bar, path

    def step(self, count: int) -> None:
        self._bar.step(count)

    def epoch(self, record: EpochRecord) -> None:
        self._bar.epoch(record)
        fields = _figures(record)
        known = self._epochs_written() if record.epoch > 1 else set()  # epoch 1 is a new run
        with self._path.open("a" if known else "w", newline="") as stream:
            writer = csv.DictWriter(stream, ["epoch", "seconds", *fields])
            if not known:
                writer.writeheader()
            if record.epoch not in known:
                writer.writerow({"epoch": record.epoch, "seconds": f"{record.seconds:.3f}", **fields})

    def _epochs_written(self) -> set[int]:
        if not self._path.exists():
            return set()
        with self._path.open(newline="") as stream:
            return {int(row["epoch"]) for row in csv.DictReader(stream)}


class _TensorBoard:
    def __init__(self, bar: Reporter, writer: Any) -> None:
        self._bar, self._writer = bar, writer

    def step(self, count: int) -> None:
        self._bar.step(count)

    def epoch(self, record: EpochRecord) -> None:
        self._bar.epoch(record)
        for name, value in _figures(record).items():
            self._writer.add_scalar(name, value, record.epoch)


def _figures(record: EpochRecord) -> dict[str, float]:
    valid = {} if record.valid is None else {"valid": record.valid}
    return {"train": record.train, **valid, **record.measures}


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InvalidArgument(
            "log",
            got="a folder for TensorBoard, which is not installed",
            expected="a path ending in .csv, or TensorBoard",
            fix="Write log='history.csv', or pip install tensorboard.",
        ) from None
    return SummaryWriter
