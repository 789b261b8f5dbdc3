"""A progress bar for one long computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(title: str, total: int, show: bool) -> Iterator[Callable[..., None]]:
    """A bar on standard error that goes when all is done.

    What is yielded advances it: ``advance(done)``, or ``advance(done, doing)`` with another title.

    Args:
        title: what is computed.
        total: how much there is to do, in any unit.
        show: ``False`` keeps quiet.

    Example:
        >>> with progress_bar("Counting", 3, show=False) as advance:
        ...     for _ in range(3):
        ...         advance(1)
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show, transient=True) as bar:
        task = bar.add_task(title, total=total)

        def advance(done: int, doing: str = title) -> None:
            bar.update(task, advance=done, description=escape(doing))

        yield advance
