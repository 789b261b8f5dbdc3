"""Whether leave-one-out predictions are calibrated: the probability integral transform against its band."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ppgen.plots.bands import draw_band
from ppgen.style.figures import ACCENTS, legend_above, new_figure
from ppgen.workflow.coverage import LooPit

__all__ = ["loo_pit_band"]


def loo_pit_band(pit: LooPit) -> Figure:
    """Draw how far the ECDF of the values is from that of uniform ones, over the band that those stay in.

    A curve that leaves the band shows how the predictions are off: one that is high at the left and low at
    the right has too narrow predictions, the reverse too wide ones; one that is low everywhere too low ones.

    Args:
        pit: what ``ppgen.workflow.loo_pit`` returns.

    References:
        Säilynoja, Bürkner and Vehtari, arXiv:2103.10522.

    Example:
        >>> values = np.random.default_rng(0).uniform(size=100)
        >>> figure = loo_pit_band(LooPit("y", values, np.zeros(100), 0.7, 0.5))
        >>> figure.axes[0].get_ylabel()
        'ECDF − uniform'
    """
    figure, axes = new_figure(height=3.0)
    panel = axes[0, 0]
    draw_band(panel, pit.band, "95 % of calibrated predictions")
    # The ECDF is a staircase: both ends of each step.
    ordered = np.sort(pit.values)
    at = np.concatenate([[0.0], np.repeat(ordered, 2), [1.0]])
    below = np.repeat(np.arange(len(ordered) + 1), 2) / len(ordered)
    colour = ACCENTS[0] if pit.ok else ACCENTS[1]
    panel.plot(at, below - at, color=colour, linewidth=1.6, label=f"{pit.site}, p = {pit.p_value:.2g}")
    panel.set_xlim(0, 1)
    panel.set_xlabel("probability of a smaller value, predicted from all other observations")
    panel.set_ylabel("ECDF − uniform")
    legend_above(panel)
    return figure
