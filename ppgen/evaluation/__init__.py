"""How good a generative model is, and what kind of number says so."""

from ppgen.evaluation import baselines
from ppgen.evaluation.evaluate import evaluate
from ppgen.evaluation.row import Group, Row
from ppgen.evaluation.scorecard import Scorecard

__all__ = ["Group", "Row", "Scorecard", "baselines", "evaluate"]
