"""The band within which the ECDF of uniform values stays, less the uniform distribution."""

from __future__ import annotations

from matplotlib.axes import Axes

from ppgen.style.figures import FAINT, MUTED
from ppgen.workflow.calibration.uniformity import Band

__all__ = ["draw_band"]


def draw_band(axes: Axes, band: Band, label: str | None = None) -> None:
    """Draw the bounds at each point, about a line at 0."""
    low, high = band.low - band.points, band.high - band.points
    axes.fill_between(band.points, low, high, step="mid", color=FAINT, linewidth=0, label=label)
    axes.axhline(0, color=MUTED, linewidth=0.8)
