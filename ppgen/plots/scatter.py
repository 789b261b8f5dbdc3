"""Points in the plane, one panel a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from ppgen.plots.arrays import check_arrays
from ppgen.style.figures import ACCENTS, INK, new_panels, title

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
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> figure = scatter({"data": rng.normal(size=(100, 2)), "flow": rng.normal(size=(100, 2))})
        >>> figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
        True
    """
    clouds = check_arrays(
        "points_by_name",
        points_by_name,
        "(n, 2)",
        example='{"data": moons.test, "flow": flow.sample(2000)}',
        fix="Choose two columns, for example points[:, :2].",
        infinite_fix="Look at the model that drew them.",
    )
    figure, panels = new_panels(len(clouds), _COLUMNS, size=(3.1, 2.9), grid=None, share_x=True, share_y=True)
    for i, (panel, (name, points)) in enumerate(zip(panels, clouds.items(), strict=True)):
        x, y = points[:_MOST_POINTS].T
        panel.plot(x, y, ".", color=ACCENTS[0] if i else INK, markersize=3, alpha=0.4, markeredgewidth=0)
        panel.set_box_aspect(1)
        title(panel, name)
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel(axis_names[1])
    for panel in panels[-_COLUMNS:]:  # those with none below
        panel.set_xlabel(axis_names[0])
        panel.tick_params(labelbottom=True)
    return figure
