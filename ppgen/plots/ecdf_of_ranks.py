"""Calibration as differences of the ranks' ECDF from a uniform one, with bands that hold at all points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.plots.bands import draw_band
from ppgen.plots.rank_panels import draw_panels
from ppgen.workflow.calibration.result import Calibration
from ppgen.workflow.calibration.uniformity import counts_below, simultaneous_band

__all__ = ["ecdf_difference"]


def ecdf_difference(calibration: Calibration, names: Sequence[str] | None = None) -> Figure:
    """Draw, by quantity, the share of ranks below each point less what uniform ranks have there.

    The band holds at all points and for all quantities at once with probability 1 − alpha (Säilynoja, Bürkner
    and Vehtari, arXiv:2103.10522; Bonferroni over quantities): a line that leaves it anywhere is evidence. A
    line above 0 at the left and below at the right means too narrow a posterior, the reverse too wide a one;
    all above 0 means that draws are too high, all below that they are too low.

    Args:
        calibration: what ``ppgen.workflow.calibrate`` returns.
        names: which quantities to draw; by default those that fail, then others, twelve at most.

    Raises:
        UnknownName: if a name is none of its quantities.
        DataError: if no simulation has ranks.

    Example:
        >>> from ppgen.workflow import Calibration
        >>> ranks = np.random.default_rng(0).integers(0, 100, size=(200, 2))
        >>> names, nothing = ("mu", "log likelihood"), ((),) * 200
        >>> some = Calibration(ranks, names, 99, 0.05, "nuts", False, "", True, nothing, {}, {}, 0, 1.0)
        >>> figure = ecdf_difference(some)
        >>> figure.axes[0].get_ylabel()
        'ECDF − uniform'
    """
    draws, level = calibration.draws, 1 - calibration.alpha / len(calibration.names)

    def draw(panel: Axes, ranks: np.ndarray, colour: str) -> None:
        band = simultaneous_band(len(ranks), draws, level)
        draw_band(panel, band)
        difference = counts_below(ranks, draws) / len(ranks) - band.points
        panel.step(band.points, difference, where="mid", color=colour, linewidth=1.6)

    held = f"{1 - calibration.alpha:.0%} for all points and quantities"
    return draw_panels(calibration, names, draw, scale="ECDF − uniform", band=held)
