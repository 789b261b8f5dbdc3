"""Calibration as histograms of ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from ppgen.plots.rank_panels import draw_panels
from ppgen.style.figures import FAINT, MUTED
from ppgen.workflow.calibration.result import Calibration

__all__ = ["ranks"]

_PER_BIN = 8  # ranks that are wanted in a bin, at least
_MOST_BINS = 25


def ranks(calibration: Calibration, names: Sequence[str] | None = None) -> Figure:
    """Draw a histogram of the ranks of each quantity, over what uniform ranks would give.

    The band is where a bin's count lies with probability 95 %, for all bins of a panel together (Bonferroni).
    A hollow middle means too narrow a posterior, a hump too wide a one, a slope a biased one (Talts et al.,
    arXiv:1804.06788). Whether a departure is chance is better seen in
    :func:`~ppgen.plots.ecdf_difference`, which needs no bins.

    Args:
        calibration: what ``ppgen.workflow.calibrate`` returns.
        names: which quantities to draw; by default those that fail, then others, twelve at most.

    Raises:
        UnknownName: if a name is none of its quantities.
        DataError: if no simulation has ranks.

    Example:
        >>> from ppgen.workflow import Calibration
        >>> drawn = np.random.default_rng(0).integers(0, 100, size=(200, 2))
        >>> names, nothing = ("mu", "log likelihood"), ((),) * 200
        >>> some = Calibration(drawn, names, 99, 0.05, "nuts", False, "", True, nothing, {}, {}, 0, 1.0)
        >>> [panel.get_title(loc="left") for panel in ranks(some).axes]
        ['mu', 'log likelihood']
    """

    def draw(panel: Axes, found: np.ndarray, colour: str) -> None:
        bins = _bins(calibration.draws + 1, len(found))
        low, high = binom.ppf([0.025 / bins, 1 - 0.025 / bins], len(found), 1 / bins)
        panel.axhspan(low, high, color=FAINT, linewidth=0)
        panel.axhline(len(found) / bins, color=MUTED, linewidth=0.8)
        shares = (found + 0.5) / (calibration.draws + 1)
        panel.hist(shares, bins, range=(0.0, 1.0), color=colour, alpha=0.8, edgecolor="white", linewidth=0.5)

    return draw_panels(calibration, names, draw, scale="simulations", band="95 % of each panel")


def _bins(values: int, simulations: int) -> int:
    """The largest number of equal bins that holds whole ranks, and enough simulations each."""
    most = min(_MOST_BINS, max(2, simulations // _PER_BIN))
    return max(bins for bins in range(1, most + 1) if values % bins == 0)
