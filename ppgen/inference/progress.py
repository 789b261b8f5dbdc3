"""The progress bar of a posterior method."""

from __future__ import annotations

from threading import Lock
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["SamplingProgress"]


class SamplingProgress:
    """A bar over all draws of all chains, with the divergences so far; several threads may report.

    Args:
        title: what is running.
        total: draws of all chains together, warm-up included; :meth:`expect` adds to it.
        show: ``False`` keeps quiet.
    """

    def __init__(self, title: str, total: int, *, show: bool) -> None:
        self._lock = Lock()
        self._divergences = 0
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} draws"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not show,
        )
        self._title = title
        self._total = total
        self._task = self._bar.add_task(f"{title}: compiling", total=total)

    def __enter__(self) -> SamplingProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def expect(self, draws: int) -> None:
        """Say that so many more draws are to come."""
        self._total += draws
        self._bar.update(self._task, total=self._total)

    def advance(self, draws: int, divergences: int = 0) -> None:
        """Report that so many more draws are done."""
        with self._lock:
            self._divergences += divergences
            notes = f", {self._divergences} divergences" if self._divergences else ""
            self._bar.update(self._task, advance=draws, description=f"{self._title}{notes}")
