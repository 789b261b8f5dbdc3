"""One fit after another, by the method itself: where there is no other way."""

from __future__ import annotations

import numpy as np

from ppgen.errors import DataError, InferenceError, PpgenError
from ppgen.inference.method import Drawn, Method, Request
from ppgen.workflow.calibration.fitter import seed_of
from ppgen.workflow.calibration.simulations import Simulations

__all__ = ["SerialFitter"]


class SerialFitter:
    """Fits one data set at a time: :class:`~ppgen.workflow.calibration.fitter.Fitter`."""

    size = 1
    runs = 1  # methods use the cores themselves

    def __init__(self, simulations: Simulations, settings: Method, request: Request, how: str) -> None:
        self.how = how
        self._simulations = simulations
        self._settings = settings
        self._request = request

    def fit(self, rows: np.ndarray) -> list[Drawn | PpgenError]:
        """Fit each; what the method raises because of the data takes the place of draws."""
        return [self._one(int(row)) for row in rows]

    def _one(self, row: int) -> Drawn | PpgenError:
        request = self._request._replace(seed=seed_of(self._request, row), progress=False)
        try:
            return self._settings.draw(self._simulations.density_of(row), request)
        except (InferenceError, DataError) as error:
            return error
