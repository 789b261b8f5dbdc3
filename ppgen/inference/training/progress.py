"""The progress bar of training."""

from __future__ import annotations

from ppgen.inference.training.run import EpochRecord
from ppgen.style.bar import ProgressBar

__all__ = ["TrainingProgress"]


class TrainingProgress(ProgressBar):
    """A bar over all steps, with the losses of the last epoch.

    Args:
        title: what is trained.
        epochs, steps: how many in total.
        show: whether to show it.
    """

    def __init__(self, title: str, *, epochs: int, steps: int, show: bool) -> None:
        super().__init__(title, steps, show=show, unit="steps")
        self._epochs = epochs

    def step(self, count: int) -> None:
        """Report that this many minibatches are done."""
        self.advance(count)

    def epoch(self, record: EpochRecord) -> None:
        """Report the losses of an epoch."""
        valid = "" if record.valid is None else f"  valid {record.valid:.3f}"
        self.advance(0, note=f"epoch {record.epoch}/{self._epochs}  train {record.train:.3f}{valid}")
