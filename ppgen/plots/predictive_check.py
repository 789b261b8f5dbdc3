"""Posterior predictive checks: would the model have produced this data?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.errors import DataError
from ppgen.plots.arrays import check_array
from ppgen.plots.curves import density_curve
from ppgen.style.figures import ACCENTS, INK, hide_scale, legend, legend_above, list_down, new_figure

__all__ = ["predictive_check"]

_FEW = 30  # observations that can still be shown one by one
_CURVES = 50


def predictive_check(
    observed: Any,
    predicted: Any,
    *,
    labels: Sequence[str] | None = None,
    quantity: str = "observation",
) -> Figure:
    """Draw observations against what the fitted model predicts for them.

    Up to 30 observations stand one by one over their 50 % and 90 % predictive intervals; more are drawn
    as one density over the densities of replicated data sets (Gelman, Meng and Stern, "Posterior
    predictive assessment of model fitness via realized discrepancies", 1996).

    Args:
        observed: ``(n,)``.
        predicted: ``(draws, n)``, replicated data.
        labels: what to call each observation; used for up to 30.
        quantity: what was observed, with its unit, for the axis.

    Raises:
        DataError: if the shapes do not fit or a value is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = predictive_check(rng.normal(size=8), rng.normal(size=(500, 8)), quantity="effect")
        >>> figure.axes[0].get_xlabel()
        'effect'
    """
    observed, predicted = _checked(observed, predicted, labels)
    if len(observed) <= _FEW:
        names = labels or [str(i) for i in range(len(observed))]
        figure, axes = new_figure(height=0.9 + 0.28 * len(observed), grid="x")
        _draw_intervals(axes[0, 0], observed, predicted, names)
    else:
        figure, axes = new_figure(height=3.2, grid=None)
        _draw_densities(axes[0, 0], observed, predicted)
    axes[0, 0].set_xlabel(quantity)
    return figure


def _draw_intervals(axes: Axes, observed: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> None:
    quantiles = np.quantile(predicted, [0.05, 0.25, 0.75, 0.95], axis=0)  # (4, n)
    heights = np.arange(len(observed))
    low, left, right, high = quantiles
    axes.hlines(heights, low, high, color=ACCENTS[0], linewidth=1.2, label="predicted, 90 % and 50 %")
    axes.hlines(heights, left, right, color=ACCENTS[0], linewidth=4)
    axes.plot(observed, heights, "o", color=ACCENTS[1], markersize=6, label="observed")
    list_down(axes, names)
    legend_above(axes)


def _draw_densities(axes: Axes, observed: np.ndarray, predicted: np.ndarray) -> None:
    chosen = predicted[np.linspace(0, len(predicted) - 1, min(_CURVES, len(predicted))).astype(int)]
    low, high = np.quantile(chosen, [0.001, 0.999])
    low, high = min(low, observed.min()), max(high, observed.max())
    for i, replicate in enumerate(chosen):
        curve = density_curve(replicate, low, high)
        label = None if i else "replicated data"
        axes.plot(*curve, color=ACCENTS[0], linewidth=0.7, alpha=0.35, label=label)
    axes.plot(*density_curve(observed, low, high), color=INK, linewidth=2, label="observed")
    hide_scale(axes)
    axes.set_ylabel("density")
    legend(axes)


def _checked(observed: Any, predicted: Any, labels: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    drop = "Drop them first."
    flatten = "Write observed.ravel(), and predicted.reshape(draws, -1)."
    observed = check_array("observed", observed, "(n,)", fix=flatten, infinite_fix=drop)
    n = len(observed)
    join = f"Write predicted.reshape(-1, {n}) to join the chains."
    predicted = check_array("predicted", predicted, f"(draws, {n})", fix=join, infinite_fix=drop)
    if labels is not None and len(labels) != n:
        raise DataError(
            "labels",
            got=f"{len(labels)} labels",
            expected=f"{n}, one an observation",
            fix="Leave them out, or name every observation.",
        )
    return observed, predicted
