"""What fits many simulated data sets: a few at a time, as one compiled computation where that can be."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.method import Drawn, Request

__all__ = ["Fitter", "seed_of"]


@runtime_checkable
class Fitter(Protocol):
    """One way of fitting the data sets of some simulations.

    Attributes:
        size: how many data sets are fitted at once.
        runs: how many calls of :meth:`fit` may run at once, in threads.
        how: what is done, as a sentence.
    """

    size: int
    runs: int
    how: str

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Fit the data of these simulations, as many as ``size``: draws of each, or why there are none."""
        ...


def seed_of(request: Request, row: int) -> int:
    """The seed of the fit to one simulation's data."""
    return int(np.random.SeedSequence([request.seed, row]).generate_state(1)[0])
