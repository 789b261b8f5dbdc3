"""Precision against recall of several models' samples."""

from __future__ import annotations

from matplotlib.figure import Figure

from ppgen.evaluation import Scorecard

__all__ = ["precision_recall"]


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
