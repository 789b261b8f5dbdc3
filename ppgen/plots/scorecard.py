"""The figures of a scorecard with their intervals."""

from __future__ import annotations

from matplotlib.figure import Figure

from ppgen.evaluation import Scorecard

__all__ = ["scorecard"]


def scorecard(card: Scorecard) -> Figure:
    """Draw a scorecard: one panel a kind of number, the best of each on top.

    Args:
        card: what :func:`ppgen.evaluate` returned.

    Example:
        >>> from ppgen.evaluation import Row
        >>> row = Row("flow", "Flow", "lower_bound", "discrete", 2.02, (2.00, 2.04), -89.6, 0.5)
        >>> [axes.get_title(loc="left") for axes in scorecard(Scorecard("digits", 447, (row,))).axes]
        ['Lower bounds on log p, discrete values']
    """
    return card.plot()
