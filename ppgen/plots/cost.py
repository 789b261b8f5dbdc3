"""How good a model is against what a sample of it costs."""

from __future__ import annotations

from matplotlib.figure import Figure

from ppgen.evaluation import Scorecard

__all__ = ["cost"]


def cost(card: Scorecard) -> Figure:
    """Draw bits/dim of each model against the time that one sample takes.

    Args:
        card: what :func:`ppgen.evaluate` returned.

    Raises:
        InvalidArgument: if no model has both.

    Example:
        >>> from ppgen.evaluation import Row
        >>> row = Row("flow", "Flow", "exact", "discrete", 2.0, (1.9, 2.1), -89.0, 0.5, sample_seconds=0.01)
        >>> cost(Scorecard("digits", 447, (row,))).axes[0].get_ylabel()
        'bits per dimension on the test rows'
    """
    return card.plot_cost()
