"""Calibration as differences of the ranks' ECDF from a uniform one, with bands that hold at all points."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ppgen.plots.rank_panels import chosen, grid_of, hide_unused
from ppgen.style.figures import ACCENTS, INK, MUTED, title
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
        >>> import numpy as np
        >>> ranks = np.random.default_rng(0).integers(0, 100, size=(200, 2))
        >>> names, nothing = ("mu", "log likelihood"), ((),) * 200
        >>> some = Calibration(ranks, names, 99, 0.05, "nuts", False, "", True, nothing, {}, {}, 0, 1.0)
        >>> figure = ecdf_difference(some)
        >>> figure.axes[0].get_ylabel()
        'ECDF − uniform'
    """
    shown, ranks, caption = chosen(calibration, names)
    figure, panels = grid_of(len(shown), share_y=True)
    level = 1 - calibration.alpha / len(calibration.names)
    band = simultaneous_band(len(ranks), calibration.draws, level)
    for panel, test in zip(panels.flat, shown, strict=False):
        wrong = test.adjusted <= calibration.alpha
        counts = counts_below(ranks[:, calibration.names.index(test.name)], calibration.draws)
        low, high = band.low - band.points, band.high - band.points
        panel.fill_between(band.points, low, high, step="mid", color=MUTED, alpha=0.18, linewidth=0)
        panel.axhline(0, color=MUTED, linewidth=0.8)
        difference = counts / len(ranks) - band.points
        panel.step(
            band.points, difference, where="mid", color=ACCENTS[1] if wrong else ACCENTS[0], linewidth=1.6
        )
        panel.set_xlim(0, 1)
        panel.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        title(panel, f"{test.name}{'  ✗' if wrong else ''}")
    hide_unused(panels, len(shown))
    for row in panels[:, 0]:
        row.set_ylabel("ECDF − uniform")
    figure.supxlabel(
        f"rank of the truth, as a share; band: {1 - calibration.alpha:.0%} for all points and quantities"
        f"{caption}",
        fontsize=9,
        color=INK,
    )
    return figure
