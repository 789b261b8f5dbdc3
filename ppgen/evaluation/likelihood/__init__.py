"""How likely rows are under a model: long-run bounds from both sides, and paired comparison.

What anneals is loaded when it is first used: JAX takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ppgen.evaluation.likelihood.comparison import LikelihoodComparison, compare_likelihoods

if TYPE_CHECKING:
    from ppgen.evaluation.likelihood.annealed import annealed_likelihood
    from ppgen.evaluation.likelihood.bidirectional import Sandwich, bdmc

__all__ = ["LikelihoodComparison", "Sandwich", "annealed_likelihood", "bdmc", "compare_likelihoods"]

_HOMES = {"Sandwich": "bidirectional", "annealed_likelihood": "annealed", "bdmc": "bidirectional"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"ppgen.evaluation.likelihood.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ppgen.evaluation.likelihood' has no attribute {name!r}")
