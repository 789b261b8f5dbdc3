"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppgen.errors import DataError
from ppgen.style.figures import ACCENTS, MUTED, legend, new_figure, title

__all__ = ["Epoch", "history"]


@runtime_checkable
class Epoch(Protocol):
    """One pass over the training rows: which, and the losses after it."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def train(self) -> float:
        """The loss on the training rows."""

    @property
    def valid(self) -> float | None:
        """The loss on the validation rows, where there are some."""


def history(runs: Mapping[str, Sequence[Epoch]], *, loss: str = "loss, nats a row") -> Figure:
    """Draw the training and validation loss of each run in a panel of its own.

    Each panel has its own scale, as losses of different models are different quantities. A ring marks
    the epoch of the lowest validation loss. The first, steep epochs may lie above the panel.

    Args:
        runs: ``{name: records}``, for example ``{"vae": run.history}``.
        loss: what was minimized, with its unit.

    Raises:
        DataError: if there is no run, or one without an epoch.

    Example:
        >>> from types import SimpleNamespace
        >>> run = [SimpleNamespace(epoch=i, train=100 / i, valid=110 / i) for i in range(1, 20)]
        >>> history({"vae": run}).axes[0].get_xlabel()
        'epoch'
    """
    for name, records in runs.items() or {"": ()}.items():
        if not records:
            raise DataError(
                f"runs[{name!r}]" if runs else "runs",
                got="no epoch",
                expected="at least one",
                fix='Write {"vae": run.history} with the run that ppgen.train returned.',
            )
    figure, axes = new_figure(1, len(runs), width=max(4.0, 2.4 * len(runs)), height=2.6)
    for panel, (name, records) in zip(axes[0], runs.items(), strict=True):
        _draw(panel, records)
        title(panel, name)
        panel.set_xlabel("epoch")
    axes[0, 0].set_ylabel(loss)
    legend(axes[0, -1], "upper right")
    return figure


def _draw(axes: Axes, records: Sequence[Epoch]) -> None:
    epochs = np.array([record.epoch for record in records])
    train = np.array([record.train for record in records], dtype=float)
    valid = np.array([np.nan if record.valid is None else record.valid for record in records])
    axes.plot(epochs, train, color=MUTED, linewidth=1.2, label="train")
    if np.isfinite(valid).any():
        best = int(np.nanargmin(valid))
        axes.plot(epochs, valid, color=ACCENTS[0], linewidth=1.8, label="validation")
        axes.plot(epochs[best], valid[best], "o", color="white", markeredgecolor=ACCENTS[0], markersize=6)
    _leave_out_the_fall(axes, np.concatenate([train, valid]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _leave_out_the_fall(axes: Axes, losses: np.ndarray) -> None:
    finite = losses[np.isfinite(losses)]
    if len(finite) < 20:
        return
    low, high = finite.min(), np.quantile(finite, 0.95)
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
