"""Which fitter a method has, and whether the simulations and its options allow it."""

from __future__ import annotations

from ppgen.inference.method import Method, Request
from ppgen.workflow.calibration.fitter import Fitter
from ppgen.workflow.calibration.laplace_fitter import LaplaceFitter
from ppgen.workflow.calibration.nuts_fitter import NUTSFitter
from ppgen.workflow.calibration.serial_fitter import SerialFitter
from ppgen.workflow.calibration.simulations import Simulations
from ppgen.workflow.calibration.smc_fitter import SMCFitter
from ppgen.workflow.calibration.svi_fitter import SVIFitter

__all__ = ["choose_fitter"]


def choose_fitter(simulations: Simulations, settings: Method, request: Request) -> Fitter:
    """The fastest way there is of fitting a method to these simulations."""
    reasons = []
    if not simulations.batched:
        reasons.append("Python has to run the program anew for other data")
    else:
        for kind in (NUTSFitter, LaplaceFitter, SVIFitter, SMCFitter):
            if settings.name == kind.method:
                obstacle = kind.obstacle(settings, simulations.density)
                if obstacle is None:
                    return kind(simulations, settings, request)
                reasons.append(obstacle)
    reason = reasons[0] if reasons else f"method {settings.name!r} has no batched form"
    return SerialFitter(simulations, settings, request, f"One data set after another: {reason}.")
