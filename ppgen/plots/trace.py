"""Trace plots: do the chains tell the same story?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.plots.curves import density_curve
from ppgen.plots.draws import first, scalars
from ppgen.style.figures import ACCENTS, hide_scale, new_figure, title

__all__ = ["trace"]

_MOST_SCALARS = 20
_MOST_POINTS = 1000  # a line of more points than pixels is a band of ink


def trace(draws: Mapping[str, Any], names: Sequence[str] | None = None) -> Figure:
    """Draw each chain's density at the left and its path at the right, one line of panels a scalar.

    Chains that agree lie on top of each other; one that is stuck or drifts stands out.

    Args:
        draws: ``{name: array (chain, draw, *event)}``, for example ``Posterior.draws``.
        names: which of them to draw, in this order; by default all. The picture ends after 20 scalars
            and says so.

    Raises:
        UnknownName: if a name is not among the draws.
        DataError: if an array has no chain and draw axes or is not finite.

    Example:
        >>> figure = trace({"mu": np.random.default_rng(0).normal(size=(4, 100))})
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['value', 'draw']
    """
    parts, caption = first(scalars(draws, names), _MOST_SCALARS)
    figure, axes = new_figure(len(parts), 2, height=0.45 + 1.0 * len(parts), grid=None, width_ratios=[1, 2])
    for (label, chains), (left, right) in zip(parts.items(), axes, strict=True):
        _draw_densities(left, chains)
        _draw_paths(right, chains)
        title(left, label)
    for panel in axes[:-1, 1]:
        panel.tick_params(labelbottom=False)
    axes[-1, 0].set_xlabel("value")
    axes[-1, 1].set_xlabel(f"draw{caption}")
    return figure


def _draw_densities(axes: Axes, chains: np.ndarray) -> None:
    for i, chain in enumerate(chains):
        axes.plot(*density_curve(chain, chains.min(), chains.max()), color=_colour(i), linewidth=1.2)
    hide_scale(axes)


def _draw_paths(axes: Axes, chains: np.ndarray) -> None:
    step = -(-chains.shape[1] // _MOST_POINTS)
    draws = np.arange(0, chains.shape[1], step)
    for i, chain in enumerate(chains):
        axes.plot(draws, chain[draws], color=_colour(i), linewidth=0.5, alpha=0.7)
    axes.set_xlim(0, chains.shape[1])


def _colour(chain: int) -> str:
    return ACCENTS[chain % len(ACCENTS)]
