"""The Bayesian workflow: check a program before and after its data, compare, average, and say what is wrong.

>>> from ppgen import workflow
>>> workflow.compare.__name__
'compare'
"""

from importlib import import_module
from typing import Any

__all__ = [
    "Calibration",
    "average",
    "calibrate",
    "check",
    "compare",
    "diagnose",
    "loo",
    "loo_pit",
    "posterior_predictive",
    "prior_predictive",
    "sensitivity",
]

_HOMES = {
    "Calibration": "ppgen.workflow.calibration.result",
    "average": "ppgen.workflow.averaging",
    "calibrate": "ppgen.workflow.calibration.calibrate",
    "check": "ppgen.workflow.checks",
    "compare": "ppgen.workflow.comparison",
    "diagnose": "ppgen.workflow.diagnosis",
    "loo": "ppgen.workflow.cross_validation",
    "loo_pit": "ppgen.workflow.coverage",
    "posterior_predictive": "ppgen.workflow.predictive",
    "prior_predictive": "ppgen.workflow.predictive",
    "sensitivity": "ppgen.workflow.power_scaling",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
