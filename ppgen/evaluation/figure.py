"""A scorecard as a figure: each value with its interval, one panel per kind."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.evaluation.row import SIGNS, Group, Row
from ppgen.style.figures import ACCENTS, MUTED, list_down, new_figure, title

__all__ = ["draw_groups"]


def draw_groups(groups: Sequence[Group]) -> Figure:
    """Draw one panel per group on a shared bits/dim axis, which implies no ranking across panels.

    A dot is an exact value or an estimate; a triangle is a bound and points towards the true value. Bars
    are 95 % intervals. Baselines are grey.
    """
    panels = [(group.title, measured) for group in groups if (measured := _measured(group))]
    sizes = [len(rows) for _, rows in panels] or [1]
    figure, axes = new_figure(
        len(sizes),
        1,
        height=0.7 + sum(0.32 * size + 0.4 for size in sizes),
        grid="x",
        share_x=True,
        height_ratios=sizes,
    )
    for panel, (heading, rows) in zip(axes[:, 0], panels, strict=False):
        _draw_rows(panel, rows)
        title(panel, heading)
    axes[-1, 0].set_xlabel("bits per dimension on the test rows (lower is better)")
    return figure


def _draw_rows(axes: Axes, rows: Sequence[tuple[Row, float]]) -> None:
    for height, (row, bits) in enumerate(rows):
        colour = MUTED if row.baseline else ACCENTS[0]
        low, high = row.interval or (bits, bits)
        marker = {"lower_bound": "<", "upper_bound": ">"}.get(row.kind or "", "o")
        axes.plot([low, high], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([bits], [height], marker, color=colour, markersize=7)
        axes.annotate(
            f"{SIGNS[row.kind]} {bits:.3f}".removeprefix("= "),
            (high, height),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
        )
    list_down(axes, [row.model for row, _ in rows])  # the best on top
    axes.margins(x=0.2)  # room for the numbers at the right


def _measured(group: Group) -> list[tuple[Row, float]]:
    return [(row, row.bits_per_dim) for row in group.rows if row.bits_per_dim is not None]
