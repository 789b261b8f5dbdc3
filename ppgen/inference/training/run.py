"""The result of a training run: its history, its best epoch, and why it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["EpochRecord", "Stopped", "TrainingRun"]

Stopped = Literal["epochs", "early", "interrupted"]


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training set.

    Attributes:
        epoch: counted from 1.
        train, valid: the loss in nats per example; ``valid`` is ``None`` if nothing is held out.
        seconds: since the start of training.
        measures: further measures by name, such as an estimated divergence; means over the epoch.
    """

    epoch: int
    train: float
    valid: float | None
    seconds: float
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """The result of ``ppgen.train``.

    Attributes:
        objective: what was minimised, by its name: ``"likelihood"``, ``"elbo"``, ….
        history: one record per epoch.
        best_epoch: the epoch whose parameters were kept: that of the lowest validation loss, or the last
            without one; 0 if training was interrupted before the first epoch was over.
        seconds: in total.
        stopped: ``"epochs"`` when all were done, ``"early"`` when patience ran out, ``"interrupted"`` by
            Ctrl-C.
        params: a program's fitted parameters by their names, constrained; empty for a family, which keeps
            its own. For NumPyro: ``numpyro.handlers.substitute(program, data=run.params)``.
        store: those of a Pyro program in Pyro's own form, for :meth:`scope`.
    """

    objective: str
    history: tuple[EpochRecord, ...]
    best_epoch: int
    seconds: float
    stopped: Stopped
    params: Mapping[str, Any] = field(default_factory=dict)
    store: Any = field(default=None, repr=False)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Run a Pyro program with its fitted parameters, and put Pyro's store back afterwards.

        Example:
            >>> import numpy as np, torch, pyro, pyro.distributions as dist
            >>> from ppgen.inference.training.train import train
            >>> def coin(x):
            ...     p = pyro.param("p", torch.tensor(0.5), constraint=dist.constraints.unit_interval)
            ...     with pyro.plate("rows", len(x)):
            ...         pyro.sample("x", dist.Bernoulli(p).expand([1]).to_event(1), obs=x.float())
            >>> flips = np.array([[1], [1], [1], [0]] * 16)
            >>> run = train(coin, flips, epochs=60, learning_rate=0.05, progress=False)
            >>> with run.scope():
            ...     print(abs(pyro.param("p").item() - 0.75) < 0.2)
            True
        """
        import pyro

        with pyro.get_param_store().scope(self.store):
            yield

    def __repr__(self) -> str:
        best = self.history[self.best_epoch - 1] if self.best_epoch else None
        loss = "" if best is None else f", loss {best.train if best.valid is None else best.valid:.4f}"
        return (
            f"TrainingRun({self.objective}, {len(self.history)} epochs in {self.seconds:.1f} s, "
            f"stopped: {self.stopped}, best epoch {self.best_epoch}{loss})"
        )
