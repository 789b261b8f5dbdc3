"""Pictures: each a function that returns a matplotlib ``Figure``, ready to save, show or embed.

Example:
    >>> import numpy as np
    >>> figure = forest({"mu": np.random.default_rng(0).normal(size=(4, 100))})
    >>> figure.get_size_inches()[0]
    np.float64(6.0)
"""

from ppgen.plots.forest import forest
from ppgen.plots.history import history
from ppgen.plots.predictive_check import predictive_check
from ppgen.plots.samples import samples
from ppgen.plots.scatter import scatter
from ppgen.plots.scorecard import scorecard
from ppgen.plots.trace import trace

__all__ = ["forest", "history", "predictive_check", "samples", "scatter", "scorecard", "trace"]
