"""Models of the same data side by side: how well each predicts what it has not seen."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from ppgen.style.figures import ACCENTS, INK, MUTED, list_down, new_figure, title
from ppgen.workflow.comparison import Comparison

__all__ = ["model_comparison"]

_AT_THE_RIGHT: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "fontsize": 9,
    "annotation_clip": False,
}


def model_comparison(comparison: Comparison) -> Figure:
    """Draw each model's expected log predictive density, and its paired difference to the best model's.

    Dots with bars are estimates with 95 % intervals; the difference is what counts: its interval is paired,
    and most often much shorter. Stacking weights stand at the right; a ring marks a model some of whose
    figures cannot be trusted.

    Args:
        comparison: what ``ppgen.workflow.compare`` returns.

    Example:
        >>> from ppgen.workflow.comparison import ComparedModel, Comparison
        >>> a = ComparedModel("a", -50.0, 4.0, 0.0, 0.0, float("nan"), 2.0, 0.9, 0.95, 0)
        >>> b = ComparedModel("b", -58.0, 5.0, -8.0, 2.0, 0.0, 3.0, 0.1, 0.05, 0)
        >>> figure = model_comparison(Comparison((a, b), {}, -49.0))
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['a', 'b']
    """
    models = comparison.models
    figure, axes = new_figure(
        1, 2, height=1.15 + 0.34 * len(models), grid="x", share_y=True, width_ratios=(1, 1)
    )
    for height, model in enumerate(models):
        centres = (model.elpd, model.difference)
        intervals = (model.interval, model.difference_interval)
        for panel, centre, interval in zip(axes[0], centres, intervals, strict=True):
            colour = ACCENTS[0] if height == 0 else MUTED
            face = "white" if model.bad else colour
            panel.plot(interval, [height, height], color=colour, linewidth=2, solid_capstyle="butt")
            panel.plot([centre], [height], "o", color=face, markeredgecolor=colour, markersize=7)
        axes[0, 1].annotate(f"{model.weight:.2f}", (1.02, height), color=INK, va="center", **_AT_THE_RIGHT)
    left, right = axes[0]
    list_down(left, [model.name for model in models])
    right.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    right.annotate("weight", (1.02, -0.5), color=MUTED, va="bottom", **_AT_THE_RIGHT)
    title(left, "Left-out data")
    title(right, "Difference to the best")
    left.set_xlabel("elpd, nats (higher is better)")
    right.set_xlabel("nats")
    return figure
