"""Test statistics and counts of observed data, over those of replicated data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ppgen.errors import DataError
from ppgen.style.figures import (
    ACCENTS,
    INK,
    hide_scale,
    legend_above,
    legend_below,
    new_figure,
    new_panels,
    title,
)
from ppgen.workflow.predictive_checks import PredictiveCheck

__all__ = ["count_check", "statistics_check"]

_MOST_VALUES = 60


def statistics_check(check: PredictiveCheck) -> Figure:
    """Draw each test statistic of replicated data as a histogram, and the observed one as a line.

    Args:
        check: what ``ppgen.workflow.check`` returns.

    Example:
        >>> from ppgen.workflow.predictive_checks import StatisticCheck
        >>> values = np.random.default_rng(0).normal(size=500)
        >>> one = StatisticCheck("mean", 0.3, values, 0.4)
        >>> figure = statistics_check(PredictiveCheck("y", "posterior", (one,), values, values, False))
        >>> figure.axes[0].get_title(loc="left")
        'mean, p = 0.4'
    """
    figure, panels = new_panels(len(check.statistics), 2, size=(3.0, 1.9), margins=(0.5, 0.5), grid=None)
    for panel, each in zip(panels, check.statistics, strict=True):
        low, high = np.quantile(each.replicated, [0.002, 0.998])  # heavy tails would hide all else
        low, high = min(low, each.observed), max(high, each.observed)
        distinct = np.unique(each.replicated)
        bins: Any = np.linspace(low, high, 41) if high > low else 3
        if len(distinct) <= 40 and (distinct == np.round(distinct)).all():
            bins = np.arange(distinct[0] - 0.5, distinct[-1] + 1)
        panel.hist(each.replicated, bins, color=ACCENTS[0], alpha=0.45, label=f"{check.source} replications")
        panel.axvline(each.observed, color=INK if each.ok else ACCENTS[1], linewidth=2, label="observed")
        hide_scale(panel)
        title(panel, f"{each.name}, {each.p_in_words}")
    legend_below(figure, panels[0])
    return figure


def count_check(observed: Any, replicated: Any, *, quantity: str = "count") -> Figure:
    """Draw how often each value was observed, over how often replicated data have it.

    Args:
        observed: whole numbers of any shape.
        replicated: ``(draws, *shape)``, replicated data.
        quantity: what was counted, for the axis.

    Raises:
        DataError: if the shapes do not fit, or the values are not whole numbers.

    References:
        Kleiber and Zeileis (2016), "Visualizing count data regressions using rootograms".

    Example:
        >>> rng = np.random.default_rng(0)
        >>> figure = count_check(rng.poisson(3, 50), rng.poisson(3, (400, 50)), quantity="goals")
        >>> figure.axes[0].get_xlabel()
        'goals'
    """
    observed, replicated = np.asarray(observed).ravel(), np.asarray(replicated)
    replicated = replicated.reshape(len(replicated), -1)
    if not observed.size or replicated.shape[1:] != observed.shape:
        raise DataError(
            "replicated",
            got=f"shape {replicated.shape} for {observed.size} observations",
            expected="(draws, *shape) of the observations",
            fix="Give PredictiveCheck.observed and PredictiveCheck.replicated.",
        )
    for name, values in (("observed", observed), ("replicated", replicated)):
        if not (values == np.round(values)).all():
            raise DataError(
                name,
                got="values that are not whole",
                expected="counts or categories",
                fix="Use predictive_check for continuous data.",
            )
    low, high = int(observed.min()), int(observed.max())
    low, high = min(low, int(np.quantile(replicated, 0.001))), max(high, int(np.quantile(replicated, 0.999)))
    width = max(1, math.ceil((high - low + 1) / _MOST_VALUES))  # values a bar
    edges = np.arange(low, high + width + 1, width) - 0.5
    centres = (edges[1:] + edges[:-1]) / 2
    counts = np.stack([np.histogram(each, edges)[0] for each in replicated])
    lowest, left, middle, right, highest = np.quantile(counts, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    figure, axes = new_figure(height=3.0)
    panel = axes[0, 0]
    panel.bar(
        centres, np.histogram(observed, edges)[0], 0.9 * width, color=ACCENTS[1], alpha=0.35, label="observed"
    )
    panel.vlines(centres, lowest, highest, color=ACCENTS[0], linewidth=1.2, label="replicated, 90 % and 50 %")
    panel.vlines(centres, left, right, color=ACCENTS[0], linewidth=3.5)
    panel.plot(centres, middle, "o", color="white", markeredgecolor=ACCENTS[0], markersize=4)
    panel.set_xlabel(quantity if width == 1 else f"{quantity} ({width} values a bar)")
    panel.set_ylabel("observations")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_ylim(bottom=0)
    legend_above(panel)
    return figure
