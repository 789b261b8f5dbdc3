"""Training objectives: one file each, all usable on a user's own program."""

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
