"""The progress bar of training: epoch, losses, speed and time left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ppgen.inference.training.run import EpochRecord

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """A bar over all steps, with the losses of the last epoch.

    Args:
        title: what is trained.
        epochs, steps: how many in all.
        show: ``False`` keeps quiet.
    """

    def __init__(self, title: str, *, epochs: int, steps: int, show: bool) -> None:
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[losses]}"),
            _Speed(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not show,
        )
        self._task = self._bar.add_task(title, total=steps, losses=f"epoch 0/{epochs}")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, count: int) -> None:
        """Report that so many minibatches are done."""
        self._bar.advance(self._task, count)

    def epoch(self, record: EpochRecord) -> None:
        """Report the losses of an epoch."""
        valid = "" if record.valid is None else f"  valid {record.valid:.3f}"
        losses = f"epoch {record.epoch}/{self._epochs}  train {record.train:.3f}{valid}"
        self._bar.update(self._task, losses=losses)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Minibatches a second."""
        return Text("" if task.speed is None else f"{task.speed:.0f} steps/s", style="progress.data.speed")
