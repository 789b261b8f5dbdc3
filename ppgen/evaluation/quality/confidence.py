"""The Inception Score: are samples clearly of one class, and do all classes appear."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppgen.errors import DataError
from ppgen.evaluation.features.spec import Features, FeatureSpec
from ppgen.evaluation.quality.checks import as_features
from ppgen.evaluation.quality.measurement import Measurement

__all__ = ["inception_score"]


def inception_score(*, generated: Any, real: Any = None) -> Measurement:
    r"""The Inception Score of a classifier's probabilities.

    .. math:: \exp\Bigl(\frac 1 n \sum_i \mathrm{KL}\bigl(p(\cdot \mid x_i) \,\Vert\, \bar p\bigr)\Bigr),
              \qquad \bar p = \frac 1 n \sum_i p(\cdot \mid x_i)

    It ranges from 1 (the classifier cannot distinguish the samples) to the number of classes. It detects
    neither copies of training examples nor a lack of variety within a class. The interval is from the
    jackknife over single rows, around the value corrected for its :math:`1/n` bias. (Salimans et al. 2016,
    arXiv:1606.03498; Barratt and Sharma 2018, "A note on the Inception Score", arXiv:1801.01973.)

    Args:
        generated: probabilities ``(n, classes)``, or :class:`~ppgen.evaluation.features.Features` that carry
            them.
        real: those of real examples, whose own score is reported in ``how`` as a reference.

    Raises:
        DataError: if there are fewer than four rows, features without probabilities, rows that do not sum
            to 1, or real and generated rows of different classes.

    Example:
        >>> sure = np.eye(4)[np.arange(400) % 4]
        >>> round(inception_score(generated=sure).value, 6)
        4.0
    """
    probabilities, spec = _checked(generated, "generated")
    log_score, corrected, stderr = _log_score(probabilities)
    value = float(np.exp(log_score))
    how, n_real = "exp of the mean divergence from the mean prediction", 0
    if real is not None:
        reference, _ = _checked(real, "real")
        if reference.shape[1] != probabilities.shape[1]:
            raise DataError(
                "real",
                got=f"{reference.shape[1]} classes",
                expected=f"{probabilities.shape[1]}, as in generated",
                fix="Use one classifier for both.",
            )
        n_real = len(reference)
        how += f"; that of the real rows is {np.exp(_log_score(reference)[0]):.3f}"
    ends = np.clip(np.exp(corrected + 1.96 * stderr * np.array([-1, 1])), 1.0, probabilities.shape[1])
    return Measurement(
        name="Inception Score" if "Inception" in spec.name else "classifier score",
        value=value,
        interval=(float(ends[0]), float(ends[1])),
        stderr=value * stderr,
        n=len(probabilities),
        n_real=n_real,
        spec=spec,
        better="higher",
        how=how,
    )


def _checked(rows: Any, argument: str) -> tuple[np.ndarray, FeatureSpec]:
    if isinstance(rows, Features):
        if rows.probabilities is None:
            raise DataError(
                argument,
                got=f"features of the spec '{rows.spec}', without probabilities",
                expected="probabilities (n, classes), or features of a classifier",
                fix="Use features.digits_classifier() or features.Classifier of ppgen.evaluation.",
            )
        rows = Features(rows.probabilities, rows.spec)
    features = as_features(rows, argument)
    values = features.values
    if values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > 1e-3:
        raise DataError(
            argument,
            got=f"rows that sum to {values.sum(axis=1).min():.4g} … {values.sum(axis=1).max():.4g}",
            expected="probabilities of classes: none negative, each row with sum 1",
            fix="Take the softmax of the classifier's outputs.",
        )
    return values / values.sum(axis=1, keepdims=True), features.spec


def _log_score(p: np.ndarray) -> tuple[float, float, float]:
    """The log of the score, its value corrected for 1/n bias, and its standard error."""
    n = len(p)
    entropies = _entropy(p)  # (n,)
    log_score = float(_entropy(p.mean(axis=0)) - entropies.mean())
    means = (p.sum(axis=0) - p) / (n - 1)  # of all rows but one
    left = _entropy(means) - (entropies.sum() - entropies) / (n - 1)
    stderr = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    return log_score, n * log_score - (n - 1) * float(left.mean()), stderr


def _entropy(p: np.ndarray) -> Any:
    from scipy.special import entr

    return entr(np.maximum(p, 0)).sum(axis=-1)
