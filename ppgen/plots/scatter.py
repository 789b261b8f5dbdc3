"""Points in the plane, one panel a source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppgen.errors import DataError
from ppgen.style.figures import ACCENTS, INK, new_figure, title

__all__ = ["scatter"]

_MOST_POINTS = 2000
_COLUMNS = 2


def scatter(points_by_name: Mapping[str, Any], *, axis_names: tuple[str, str] = ("$x_1$", "$x_2$")) -> Figure:
    """Draw each source's points in a panel of its own, all over the same region and scale.

    Panels rather than colours: points that hide each other cannot be compared.

    Args:
        points_by_name: ``{name: array (n, 2)}``, the data first; the first 2000 points of each are drawn.
        axis_names: what the two coordinates are, with units where they have some.

    Raises:
        DataError: if there are no points, or an array is not ``(n, 2)`` or not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = scatter({"data": rng.normal(size=(100, 2)), "flow": rng.normal(size=(100, 2))})
        >>> figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
        True
    """
    clouds = {name: _checked(name, np.asarray(points)) for name, points in points_by_name.items()}
    if not clouds:
        raise DataError(
            "points_by_name",
            got="no points",
            expected="{name: array (n, 2)}",
            fix='Write {"data": moons.test, "flow": flow.sample(2000)}.',
        )
    columns = min(_COLUMNS, len(clouds))
    lines = math.ceil(len(clouds) / columns)
    figure, axes = new_figure(
        lines, columns, width=3.1 * columns, height=2.9 * lines, grid=None, share_x=True, share_y=True
    )
    for i, (panel, (name, points)) in enumerate(zip(axes.flat, clouds.items(), strict=False)):
        panel.plot(*points.T, ".", color=ACCENTS[0] if i else INK, markersize=3, alpha=0.4, markeredgewidth=0)
        panel.set_box_aspect(1)
        title(panel, name)
    for panel in axes[:, 0]:
        panel.set_ylabel(axis_names[1])
    for panel in axes.flat[max(0, len(clouds) - columns) : len(clouds)]:  # those with none below
        panel.set_xlabel(axis_names[0])
        panel.tick_params(labelbottom=True)
    for unused in axes.flat[len(clouds) :]:
        unused.remove()
    return figure


def _checked(name: str, points: np.ndarray) -> np.ndarray:
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise DataError(
            f"points_by_name[{name!r}]",
            got=f"an array of shape {points.shape}",
            expected="(n, 2), at least one point",
            fix="Choose two columns, for example points[:, :2].",
        )
    if not np.isfinite(points).all():
        raise DataError(
            f"points_by_name[{name!r}]",
            got="NaN or infinite points",
            expected="finite numbers",
            fix="Look at the model that drew them.",
        )
    return points[:_MOST_POINTS].astype(float)
