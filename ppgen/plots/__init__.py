"""Pictures: each a function that returns a matplotlib ``Figure``, ready to save, show or embed.

Example:
    >>> import numpy as np
    >>> figure = forest({"mu": np.random.default_rng(0).normal(size=(4, 100))})
    >>> figure.get_size_inches()[0]
    np.float64(6.0)
"""

from importlib import import_module
from typing import Any

from ppgen.plots.forest import forest
from ppgen.plots.history import history
from ppgen.plots.nearest_neighbours import nearest_neighbours
from ppgen.plots.predictive_check import predictive_check
from ppgen.plots.samples import samples
from ppgen.plots.scatter import scatter
from ppgen.plots.scorecard import cost, precision_recall, scorecard
from ppgen.plots.trace import trace

__all__ = [
    "cost",
    "count_check",
    "ecdf_difference",
    "forest",
    "history",
    "loo_pit_band",
    "model_comparison",
    "nearest_neighbours",
    "power_sensitivity",
    "precision_recall",
    "predictive_check",
    "ranks",
    "samples",
    "scatter",
    "scorecard",
    "statistics_check",
    "trace",
]

# Pictures of results of the workflow, which imports JAX: loaded when first used.
_LATER = {
    "count_check": "ppgen.plots.replicated",
    "ecdf_difference": "ppgen.plots.ecdf_of_ranks",
    "loo_pit_band": "ppgen.plots.loo_pit",
    "model_comparison": "ppgen.plots.comparison",
    "power_sensitivity": "ppgen.plots.power_scaling",
    "ranks": "ppgen.plots.rank_histograms",
    "statistics_check": "ppgen.plots.replicated",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
