"""The look of every figure: a colour-blind-safe palette, quiet axes, sizes that survive a phone.

Everything is set on the figure itself. Nothing here reads or changes global plotting state, so that a
figure looks the same in a script, a notebook and a test, and is freed when its last reference goes.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "ACCENTS",
    "FAINT",
    "INK",
    "MUTED",
    "data_url",
    "footnote",
    "hide_scale",
    "legend",
    "legend_above",
    "legend_below",
    "list_down",
    "new_figure",
    "new_panels",
    "show_image",
    "title",
]

# Okabe and Ito's palette (2008, "Color universal design"), without its yellow, which white swallows.
ACCENTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#1f2328"  # text
MUTED = "#6b7280"  # axes, secondary text, whatever is there for comparison
FAINT = "#e5e7eb"  # grid lines

Corner = Literal["best", "upper left", "upper right", "lower left", "lower right"]

_TEXT = 9.5  # points; a figure is 6 inches wide, so that this is still legible at phone width
_LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": _TEXT - 0.5,
    "labelcolor": INK,
    "handlelength": 1.6,
}


class NotebookFigure(Figure):
    """A figure that a notebook shows by itself, without a plotting backend."""

    def _repr_png_(self) -> bytes:
        return _png(self, dpi=144)


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 6.0,
    height: float = 3.6,
    grid: Literal["x", "y", "both"] | None = "y",
    share_x: bool = False,
    share_y: bool = False,
    width_ratios: Sequence[int | float] | None = None,
    height_ratios: Sequence[int | float] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Make a figure in the house style.

    Args:
        rows, columns: how many axes.
        width, height: of the figure, in inches.
        grid: which faint lines to draw behind the data.
        share_x, share_y: whether all axes have these limits in common.
        width_ratios, height_ratios: relative sizes of columns and rows.

    Returns:
        The figure, and its axes as an object array ``(rows, columns)``.

    Example:
        >>> figure, axes = new_figure(1, 2)
        >>> axes.shape
        (1, 2)
    """
    figure = NotebookFigure(figsize=(width, height), dpi=100, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)  # inches
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=share_x,
        sharey=share_y,
        width_ratios=width_ratios,
        height_ratios=height_ratios,
    )
    for each in axes.flat:
        _dress(each, grid)
    return figure, axes


def new_panels(
    count: int,
    columns: int,
    *,
    size: tuple[float, float],
    margins: tuple[float, float] = (0.0, 0.0),
    grid: Literal["x", "y", "both"] | None = "y",
    share_x: bool = False,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``count`` panels, at most ``columns`` of them side by side.

    Args:
        count, columns: how many panels, and how many in a line.
        size: width and height of a panel, in inches.
        margins: how much wider and higher the figure is than its panels.
        grid, share_x, share_y: as in :func:`new_figure`.

    Example:
        >>> figure, panels = new_panels(3, 2, size=(3.0, 2.0))
        >>> len(panels), figure.get_size_inches().tolist()
        (3, [6.0, 4.0])
    """
    columns = min(columns, count)
    lines = math.ceil(count / columns)
    figure, axes = new_figure(
        lines,
        columns,
        width=margins[0] + size[0] * columns,
        height=margins[1] + size[1] * lines,
        grid=grid,
        share_x=share_x,
        share_y=share_y,
    )
    for unused in axes.flat[count:]:
        unused.remove()
    return figure, list(axes.flat[:count])


def title(axes: Axes, text: str) -> None:
    """Put a title over the left edge of the axes, where reading starts."""
    axes.set_title(text, loc="left", fontsize=_TEXT + 0.5, fontweight="bold", color=INK)


def legend(axes: Axes, location: Corner = "best") -> None:
    """Add a legend without a frame inside the axes."""
    axes.legend(loc=location, **_LEGEND)


def legend_above(axes: Axes) -> None:
    """Add a legend over the left edge of the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2, **_LEGEND)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Add the legend of one of the axes below the whole figure."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, **_LEGEND)


def footnote(figure: Figure, text: str) -> None:
    """Write a line below the whole figure."""
    figure.supxlabel(text, fontsize=_TEXT - 0.5, color=INK)


def hide_scale(axes: Axes) -> None:
    """Leave out the vertical scale, which says nothing of a density: it begins at 0."""
    axes.set_yticks([])
    axes.set_ylim(bottom=0)
    axes.spines["left"].set_visible(False)


def list_down(axes: Axes, names: Sequence[str]) -> None:
    """Name the heights 0, 1, 2, … of the axes, the first on top."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)


def show_image(axes: Axes, image: np.ndarray, low: int | float, high: int | float) -> None:
    """Draw grey levels from ``low``, white, to ``high``, black, within a faint frame."""
    axes.imshow(image, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT)


def data_url(figure: Figure, *, scale: float = 2.0) -> str:
    """Turn a figure into a PNG inside a ``data:`` address, sharp on screens with ``scale`` pixels a point.

    Example:
        >>> figure, _ = new_figure(width=1.0, height=1.0)
        >>> data_url(figure)[:22]
        'data:image/png;base64,'
    """
    return "data:image/png;base64," + base64.b64encode(_png(figure, dpi=scale * 100)).decode("ascii")


def _png(figure: Figure, dpi: float) -> bytes:
    buffer = io.BytesIO()
    # No version in the file: the same figure gives the same bytes.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _dress(axes: Axes, grid: Literal["x", "y", "both"] | None) -> None:
    axes.set_facecolor("white")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=MUTED, linewidth=0.8)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=_TEXT - 1, length=3, width=0.8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, size=_TEXT)
    axes.set_axisbelow(True)
    axes.grid(False)
    if grid:
        axes.grid(True, axis=grid, color=FAINT, linewidth=0.8)
