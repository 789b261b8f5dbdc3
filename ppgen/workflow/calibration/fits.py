"""The fits to simulated data sets: many at a time where the method can, else one after another."""

from __future__ import annotations

import numpy as np

from ppgen.errors import PpgenError
from ppgen.inference.batch import Batching, BatchMethod, draw_or_error, one_by_one
from ppgen.inference.method import Drawn, Method, Request
from ppgen.workflow.calibration.simulations import Simulations

__all__ = ["Fitter"]


class Fitter:
    """Fits a method to the data sets of some simulations.

    Args:
        simulations: truths and data.
        method: the method.
        request: what each fit is asked for; its seed is that of all.

    Attributes:
        batching: how many data sets are fitted at a time, and how many such calls may run in threads.
    """

    def __init__(self, simulations: Simulations, method: Method, request: Request) -> None:
        self._simulations = simulations
        self._method = method
        self._request = request
        self.batching = self._choose_batching()

    def _choose_batching(self) -> Batching:
        if not self._simulations.batched:
            return one_by_one("Python has to run the program again for other data")
        if not isinstance(self._method, BatchMethod):
            return one_by_one(f"method {self._method.name!r} has no batched form")
        return self._method.batching(self._simulations.density, self._request)

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Fit the data of as many simulations as a batch has: draws of each, or why there are none."""
        requests = [self._request_of(int(row)) for row in rows]
        if self.batching.size > 1 and isinstance(self._method, BatchMethod):
            return self._method.draw_many(self._simulations.batch(rows), requests)
        densities = [self._simulations.density_of(int(row)) for row in rows]
        return [draw_or_error(self._method, *one) for one in zip(densities, requests, strict=True)]

    def _request_of(self, row: int) -> Request:
        """A request with a seed of its own."""
        seed = int(np.random.SeedSequence([self._request.seed, row]).generate_state(1)[0])
        return self._request._replace(seed=seed, progress=False)
