"""What training can minimise: one file an objective, each usable on a program of the user's own."""

from ppgen.inference.training.objectives.catalog import OBJECTIVES, make_objective
from ppgen.inference.training.objectives.objective import (
    Batch,
    BringsLearner,
    HasMonitor,
    Objective,
    StatefulObjective,
    check_requirements,
)

__all__ = [
    "OBJECTIVES",
    "Batch",
    "BringsLearner",
    "HasMonitor",
    "Objective",
    "StatefulObjective",
    "check_requirements",
    "make_objective",
]
