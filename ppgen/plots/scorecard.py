"""The pictures of a scorecard: its figures, what samples get right, and what they cost."""

from __future__ import annotations

from matplotlib.figure import Figure

from ppgen.evaluation import Scorecard

__all__ = ["cost", "precision_recall", "scorecard"]


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


def precision_recall(card: Scorecard) -> Figure:
    """Draw what samples of each model get right against what they leave out.

    Args:
        card: what :func:`ppgen.evaluate` returned.

    Raises:
        InvalidArgument: if no model's samples were measured.

    Example:
        >>> from ppgen.data import load
        >>> from ppgen.evaluation import evaluate
        >>> from ppgen.evaluation.baselines import IndependentCategorical
        >>> digits = load("digits")
        >>> counts = IndependentCategorical.fit(digits)
        >>> card = evaluate({"counts": counts}, digits, baselines=False, generated=100, progress=False)
        >>> precision_recall(card).axes[0].get_xlabel()
        'recall: share of real rows near generated ones'
    """
    return card.plot_precision_recall()
