"""Trade-offs as figures: precision against recall, and likelihood against the cost of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ppgen.errors import InvalidArgument
from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.row import Row
from ppgen.program.likelihood import Kind
from ppgen.style.figures import ACCENTS, INK, MUTED, legend_above, new_figure

__all__ = ["draw_cost", "draw_precision_recall"]

_KINDS: dict[Kind | None, tuple[str, str, str]] = {
    "exact": ("o", ACCENTS[0], "exact"),
    "lower_bound": ("v", ACCENTS[1], "at most (bound)"),
    "estimate": ("s", ACCENTS[2], "estimate"),
    "upper_bound": ("^", ACCENTS[3], "at least (bound)"),
}
# Where a label may be placed around its point, the best first: offsets in points.
_PLACES = (
    *((6, 3), (-6, 3), (6, -3), (-6, -3), (0, 8), (0, -8)),
    *((22, 18), (-22, 18), (22, -18), (-22, -18), (0, 34), (0, -34)),
    *((40, 30), (-40, -30), (-40, 30), (40, -30), (-60, 8), (-60, -8), (0, 50), (0, -50)),
)
_NEAR = 6  # the first so many are next to the point


def draw_precision_recall(rows: Sequence[Row], unseen: Sequence[Measurement]) -> Figure:
    """Plot precision against recall with their 95 % intervals; the upper right is best.

    A cross marks what unseen real examples reach, the best that can be expected of a model.
    """
    points = [
        (row.model, recall, precision, MUTED if row.baseline else ACCENTS[0], "o")
        for row in rows
        if (recall := row.measured("recall")) and (precision := row.measured("precision"))
    ]
    found = {figure.name: figure for figure in unseen}
    if "recall" in found:
        points.append(("unseen real rows", found["recall"], found["precision"], INK, "X"))
    if not points:
        raise _nothing("samples whose precision and recall were measured", "generated=500")
    figure, axes = new_figure(width=6.0, height=4.6, grid="both")
    panel = axes[0, 0]
    for _, recall, precision, colour, marker in points:
        for x, y in (
            (recall.interval, (precision.value,) * 2),
            ((recall.value,) * 2, precision.interval),
        ):
            panel.plot(x, y, color=colour, linewidth=1.2, alpha=0.6, solid_capstyle="butt")
        panel.plot([recall.value], [precision.value], marker, color=colour, markersize=7)
    panel.set_xlabel("recall: share of real rows near generated ones")
    panel.set_ylabel("precision: share of generated rows near real ones")
    panel.margins(0.12)
    _label(figure, panel, [(name, x.value, y.value, colour) for name, x, y, colour, _ in points])
    return figure


def draw_cost(rows: Sequence[Row]) -> Figure:
    """Plot bits/dim with its 95 % interval against the time of one sample; the lower left is best.

    The marker shows the kind of likelihood; baselines are hollow.
    """
    points = [
        (row, 1000 * row.sample_seconds, row.bits_per_dim)
        for row in rows
        if row.sample_seconds and row.bits_per_dim is not None
    ]
    if not points:
        raise _nothing("a model with both a likelihood and timed samples", "samples=64")
    figure, axes = new_figure(width=6.0, height=4.2, grid="both")
    panel = axes[0, 0]
    panel.set_xscale("log")
    for row, milliseconds, bits in points:
        marker, colour, _ = _KINDS[row.kind]
        low, high = row.interval or (bits, bits)
        panel.plot([milliseconds] * 2, [low, high], color=colour, linewidth=1.2, alpha=0.6)
        fill = "white" if row.baseline else colour
        panel.plot([milliseconds], [bits], marker, color=colour, markerfacecolor=fill, markersize=7)
    for kind in dict.fromkeys(row.kind for row, _, _ in points):
        marker, colour, words = _KINDS[kind]
        panel.plot([], [], marker, color=colour, markersize=7, linestyle="none", label=words)
    if any(row.baseline for row, _, _ in points):
        hollow = {"markerfacecolor": "white", "markersize": 7, "linestyle": "none"}
        panel.plot([], [], "o", color=MUTED, label="baseline (hollow)", **hollow)
    legend_above(panel)
    panel.set_xlabel("time of one sample, drawn in a batch, in milliseconds")
    panel.set_ylabel("bits per dimension on the test rows")
    panel.margins(0.15)
    _label(figure, panel, [(row.model, x, y, INK) for row, x, y in points])
    return figure


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each name near its point, where it overlaps neither a point nor another name."""
    figure.draw_without_rendering()  # the layout, which says where points are on the page
    inside: Any = axes.get_window_extent()
    places = [axes.transData.transform((x, y)) for _, x, y, _ in points]
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in places]
    for name, x, y, colour in points:
        tried: list[tuple[float, int, Any, Any]] = []
        for right, up in _PLACES:
            text = axes.annotate(
                name,
                (x, y),
                xytext=(right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right" if right < 0 else "center",
                va="bottom" if up > 0 else "top",
                fontsize=8.5,
                color=colour,
            )
            text.set_in_layout(False)  # or the axes would shrink, and the points move
            box = text.get_window_extent()
            outside = not (inside.x0 < box.x0 and box.x1 < inside.x1)
            outside |= not (inside.y0 < box.y0 and box.y1 < inside.y1)
            hidden = sum(_shared(box, other) for other in taken) + 1e6 * outside
            tried.append((hidden, len(tried), text, box))
            if hidden == 0:
                break
        _, place, chosen, box = min(tried, key=lambda attempt: attempt[:2])
        taken.append(box)
        for *_, text, _ in tried:
            if text is not chosen:
                text.remove()
        if place >= _NEAR:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6}
            axes.annotate("", (x, y), xytext=_PLACES[place], textcoords="offset points", arrowprops=line)


def _shared(a: Bbox, b: Bbox) -> float:
    """The area of the overlap of two boxes, in square pixels."""
    common = Bbox.intersection(a, b)
    return 0.0 if common is None else common.width * common.height


def _nothing(what: str, option: str) -> InvalidArgument:
    return InvalidArgument(
        "rows",
        got="none with what the figure shows",
        expected=what,
        fix=f"Measure with ppgen.evaluate(models, data, {option}).",
    )
