"""The progress bar of every long computation."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["ProgressBar"]


class ProgressBar:
    """A bar on standard error, with the time spent and left; several threads may advance it.

    Args:
        title: what is computed.
        total: how much there is to do.
        show: ``False`` keeps quiet.
        unit: of what, where a count and a speed say something; the bar then stays when all is done.

    Example:
        >>> with ProgressBar("Counting", 3, show=False) as bar:
        ...     for i in range(3):
        ...         bar.advance(note=f"at {i}", odd=i % 2)
    """

    def __init__(self, title: str, total: int, *, show: bool, unit: str = "") -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            _Count(unit) if unit else TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not show, transient=not unit)
        self._lock, self._total, self._note = Lock(), total, ""
        self._counts: Counter[str] = Counter()
        self._task = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def expect(self, more: int) -> None:
        """Say that so much more is to come."""
        self._total += more
        self._bar.update(self._task, total=self._total)

    def advance(self, done: int = 1, *, note: str | None = None, **counts: int) -> None:
        """Report that so much more is done.

        Args:
            done: in the unit.
            note: what there is to say from now on.
            counts: added up and shown by their names, such as ``divergences``, as soon as there are any.
        """
        with self._lock:
            self._note = self._note if note is None else escape(note)
            self._counts.update(counts)
            shown = [f"{number} {name}" for name, number in self._counts.items() if number]
            self._bar.update(self._task, advance=done, note="  ".join([self._note, *shown]))


class _Count(ProgressColumn):
    """How much is done, and how fast."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """As text."""
        if not task.completed:
            return Text("starting", style="progress.download")
        speed = f", {task.speed:.0f}/s" if task.speed else ""
        return Text(f"{task.completed:.0f}/{task.total:.0f} {self.unit}{speed}", style="progress.download")
