"""Forest plots: many posteriors side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.plots.draws import first, scalars
from ppgen.style.figures import ACCENTS, MUTED, legend_above, list_down, new_figure

__all__ = ["forest"]

_MOST_SCALARS = 60


def forest(
    draws: Mapping[str, Any],
    names: Sequence[str] | None = None,
    reference: Mapping[str, Any] | None = None,
    reference_name: str = "reference",
) -> Figure:
    """Draw each scalar's median with its 50 % and 94 % intervals (equal tails), all chains together.

    Args:
        draws: ``{name: array (chain, draw, *event)}``, for example ``Posterior.draws``.
        names: which of them to draw, in this order; by default all. The picture ends after 60 scalars
            and says so.
        reference: ``{name: array (*event)}``, values to mark next to them: the truth of a simulation, or
            the means of another fit.
        reference_name: what these values are, for the legend.

    Raises:
        UnknownName: if a name is not among the draws.
        DataError: if an array has no chain and draw axes or is not finite.

    Example:
        >>> figure = forest({"theta": np.random.default_rng(0).normal(size=(4, 100, 8))})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()][:2]
        ['theta[0]', 'theta[1]']
    """
    parts, caption = first(scalars(draws, names), _MOST_SCALARS)
    figure, axes = new_figure(height=0.7 + 0.26 * len(parts), grid="x")
    panel = axes[0, 0]
    for height, chains in enumerate(parts.values()):
        low, left, median, right, high = np.quantile(chains, [0.03, 0.25, 0.5, 0.75, 0.97])
        panel.plot([low, high], [height, height], color=ACCENTS[0], linewidth=1.2)
        panel.plot([left, right], [height, height], color=ACCENTS[0], linewidth=3.5, solid_capstyle="butt")
        panel.plot(median, height, "o", color="white", markeredgecolor=ACCENTS[0], markersize=5.5)
    list_down(panel, list(parts))
    panel.set_xlabel(f"value: median, 50 % and 94 % intervals{caption}")
    if panel.get_xlim()[0] < 0 < panel.get_xlim()[1]:
        panel.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    if reference is not None:
        _mark(panel, list(parts), reference, reference_name)
    return figure


def _mark(axes: Axes, labels: list[str], reference: Mapping[str, Any], name: str) -> None:
    values = scalars({name: np.asarray(value)[None, None] for name, value in reference.items()}, None)
    heights = [height for height, label in enumerate(labels) if label in values]
    marked = [float(values[labels[height]].item()) for height in heights]
    axes.plot(marked, heights, "D", color=ACCENTS[1], markersize=5, label=name)
    legend_above(axes)
