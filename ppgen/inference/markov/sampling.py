"""Drives chains round by round: keeps what they draw, shows how far they are, writes the checkpoint."""

from __future__ import annotations

import time

import numpy as np

from ppgen.inference.markov.chains import CHUNK, Chains, Record
from ppgen.inference.markov.checkpoint import Checkpoint
from ppgen.inference.progress import SamplingProgress

__all__ = ["Sampling"]

_ROUND_SECONDS = 2.0  # between two looks at the progress bar and the checkpoint, about


class Sampling:
    """Chains on their way, with all that they have drawn.

    Args:
        chains: the chains; if the checkpoint has something of them, they go on from there.
        bar: told how far they are.
        checkpoint: kept up to date.
    """

    def __init__(self, chains: Chains, bar: SamplingProgress, checkpoint: Checkpoint) -> None:
        self.chains = chains
        self._bar = bar
        self._checkpoint = checkpoint
        self._records: list[Record] = []
        saved = checkpoint.load()
        if saved is not None:
            self._records.append(Record(*(saved[f"record_{name}"] for name in Record._fields)))
            chains.restore(saved)

    def until(self, steps: int) -> None:
        """Draw until each chain has made so many steps, warm-up included."""
        if self.chains.done >= steps:
            return
        self._bar.expect((steps - self.chains.done) * self.chains.number)
        count = 16
        while self.chains.done < steps:
            begin = time.perf_counter()
            record = self.chains.advance(min(count, steps - self.chains.done))
            self._records.append(record)
            warm_up = max(0, self.chains.tune - self.chains.done + record.lp.shape[1])
            self._bar.advance(record.lp.size, int(record.diverging[:, warm_up:].sum()))
            if self._checkpoint.is_due():
                self._save()
            pace = _ROUND_SECONDS / max(time.perf_counter() - begin, 1e-3)
            count = int(np.clip(count * min(2.0, pace), 1, CHUNK))
        self._save()

    def draws(self, first: int, last: int | None = None) -> Record:
        """The draws from one step to another, ``(chain, draw, …)``."""
        self._records = [Record(*(np.concatenate(parts, 1) for parts in zip(*self._records, strict=True)))]
        return Record(*(values[:, first:last] for values in self._records[0]))

    def _save(self) -> None:
        records = {f"record_{name}": values for name, values in self.draws(0)._asdict().items()}
        self._checkpoint.save(self.chains.save() | records)
