"""The fits to simulated data sets: many at a time where the method can, else one after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.batch import Batching, BatchMethod, draw_or_error, one_by_one
from ppgen.inference.method import Drawn, Method, Request
from ppgen.workflow.calibration.simulations import Simulations

__all__ = ["Fitter"]


@dataclass(frozen=True, eq=False)
class Fitter:
    """Fits a method to the data sets of some simulations.

    Attributes:
        simulations: truths and data.
        method: the method.
        request: what each fit is asked for; from its seed follow those of the fits.
    """

    simulations: Simulations
    method: Method
    request: Request

    @cached_property
    def batching(self) -> Batching:
        """How many data sets are fitted at a time, and how many such calls may run in threads."""
        if not self.simulations.batched:
            return one_by_one("Python has to run the program again for other data")
        if not isinstance(self.method, BatchMethod):
            return one_by_one(f"method {self.method.name!r} has no batched form")
        return self.method.batching(self.simulations.density, self.request)

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Fit the data of some simulations: draws of each, or why there are none."""
        # A batch is filled up, so that all have the shape that was compiled.
        filled = np.concatenate([rows, np.repeat(rows[-1:], self.batching.size - len(rows))])
        requests = [self._request_of(int(row)) for row in filled]
        if self.batching.size > 1 and isinstance(self.method, BatchMethod):
            return self.method.draw_many(self.simulations.batch(filled), requests)[: len(rows)]
        return [
            draw_or_error(self.method, self.simulations.density_of(int(row)), request)
            for row, request in zip(rows, requests, strict=True)
        ]

    def _request_of(self, row: int) -> Request:
        """A request with a seed of its own."""
        seed = int(np.random.SeedSequence([self.request.seed, row]).generate_state(1)[0])
        return self.request._replace(seed=seed, progress=False)
