"""Runs chains round by round: stores their draws, reports progress, writes the checkpoint."""

from __future__ import annotations

import time

import numpy as np

from ppgen.inference.markov.chains import CHUNK, Chains, Record
from ppgen.inference.markov.checkpoint import Checkpoint
from ppgen.style.bar import ProgressBar

__all__ = ["Sampling"]

_ROUND_SECONDS = 2.0  # between two looks at the progress bar and the checkpoint, about


class Sampling:
    """Running chains, with all their draws so far.

    Args:
        chains: the chains; they resume from the checkpoint, if it holds any.
        bar: receives their progress.
        checkpoint: kept up to date.
    """

    def __init__(self, chains: Chains, bar: ProgressBar, checkpoint: Checkpoint) -> None:
        self.chains = chains
        self._bar = bar
        self._checkpoint = checkpoint
        self._records: list[Record] = []
        self._expected = chains.done
        self._count = 16  # of the next round
        saved = checkpoint.load()
        if saved is not None:
            self._records.append(Record(*(saved[f"record_{name}"] for name in Record._fields)))
            chains.restore(saved)
            self._expected = chains.done

    def expect(self, steps: int) -> None:
        """Tell the bar how many steps each chain will have made in the end, as far as is known."""
        more = steps - self._expected
        if more > 0:
            self._bar.expect(more * self.chains.number)
            self._expected = steps

    def until(self, steps: int) -> None:
        """Draw until each chain has made this many steps, including warm-up."""
        if self.chains.done >= steps:
            return
        self.expect(steps)
        while self.chains.done < steps:
            begin = time.perf_counter()
            record = self.chains.advance(min(self._count, steps - self.chains.done))
            self._records.append(record)
            warm_up = max(0, self.chains.tune - self.chains.done + record.lp.shape[1])
            self._bar.advance(record.lp.size, divergences=int(record.diverging[:, warm_up:].sum()))
            if self._checkpoint.is_due():
                self._save()
            pace = _ROUND_SECONDS / max(time.perf_counter() - begin, 1e-3)
            self._count = int(np.clip(self._count * min(2.0, pace), 1, CHUNK))
        self._save()

    def rival(self, chains: Chains) -> Sampling:
        """Other chains, shown on the same bar, of which nothing is written."""
        return Sampling(chains, self._bar, Checkpoint(None, ""))

    def adopt(self, places: np.ndarray, other: Sampling, which: np.ndarray) -> None:
        """Replace some chains by the other's, which are as far along, with their draws."""
        self.chains.adopt(places, other.chains, which)
        own, theirs = self.draws(0), other.draws(0)
        for values, others in zip(own, theirs, strict=True):
            values[places] = others[which]

    def draws(self, first: int, last: int | None = None) -> Record:
        """The draws from one step to another, ``(chain, draw, …)``."""
        self._records = [Record(*(np.concatenate(parts, 1) for parts in zip(*self._records, strict=True)))]
        return self._records[0].part(first, last)

    def _save(self) -> None:
        if not self._checkpoint.wanted:
            return
        records = {f"record_{name}": values for name, values in self.draws(0)._asdict().items()}
        self._checkpoint.save(self.chains.save() | records)
