"""The classifier two-sample test: can a classifier tell generated examples from real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.evaluation.quality.checks import check_samples
from ppgen.evaluation.quality.jackknife import share_interval, share_stderr
from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.scikit_learn import quiet_fits

__all__ = ["TwoSampleTest", "classifier_two_sample_test"]

Classifier = Literal["neighbours", "logistic", "network"]

_PERMUTATIONS = 999


@dataclass(frozen=True, kw_only=True)
class TwoSampleTest(Measurement):
    """The accuracy of a classifier of real and generated examples; 0.5 is chance, and the best value.

    Attributes:
        p_value: how often samples of one distribution would be classified at least this well.
    """

    p_value: float

    @property
    def reading(self) -> str:
        """The result of the test, as a sentence."""
        verdict = "tells them apart" if self.p_value < 0.05 else "does not tell them apart"
        return f"The classifier {verdict} (p = {self.p_value:.2g}). {super().reading}"


def classifier_two_sample_test(
    *, real: Any, generated: Any, classifier: Classifier = "neighbours", folds: int = 5, seed: int = 0
) -> TwoSampleTest:
    r"""Train a classifier to tell real from generated examples, and test it on held-out examples.

    Equally many of each are used, and the predictions of all folds are counted:

    .. math:: \hat a = \frac{1}{2 n} \sum_{i=1}^{2 n} [\hat l(z_i) = l_i]

    Predictions in a cross-validation depend on each other, so that their number is not binomial. For
    ``"neighbours"`` the p-value is nevertheless exact, by 999 permutations of the labels. For the others it
    is binomial, from one half of the examples, predicted by a classifier trained on the other half.

    (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545.)

    Args:
        real: features ``(m, d)``, an array or :class:`~ppgen.evaluation.features.Features`.
        generated: features ``(n, d)`` of the same spec.
        classifier: ``"neighbours"`` votes among the √n nearest, ``"logistic"`` is logistic regression,
            ``"network"`` is a small multilayer perceptron.
        folds: the number of folds of the cross-validation.
        seed: the seed of the subset, the folds, the permutations and the network.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all constant.
        InvalidArgument: if the two have features of different specs, for another classifier, or for more
            folds than rows.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(2, 200, 2))
        >>> classifier_two_sample_test(real=x, generated=y + 3.0).p_value
        0.001
    """
    samples = check_samples(real, generated)
    check_choice("classifier", classifier, get_args(Classifier))
    n = min(len(samples.real), len(samples.generated))
    check_integer("folds", folds, least=2, most=n)
    rng = np.random.default_rng(seed)
    rows = np.concatenate([x[rng.permutation(len(x))[:n]] for x in (samples.real, samples.generated)])
    label = np.repeat([0, 1], n)
    if classifier == "neighbours":
        accuracy, p_value = _by_neighbours(rows, label, folds, rng)
    else:
        accuracy = float(_decisions(rows, label, classifier, folds, seed).mean())
        p_value = _held_out_p_value(rows, label, classifier, seed)
    stderr = share_stderr(accuracy, 2 * n)
    facts = {**samples.facts, "n": n, "n_real": n}
    return TwoSampleTest(
        name="classifier accuracy",
        value=accuracy,
        interval=share_interval(accuracy, stderr, 2 * n),
        stderr=stderr,
        better="lower",
        how=f"{classifier}, {folds}-fold cross-validation; 0.5 is chance",
        p_value=p_value,
        **facts,
    )


def _by_neighbours(
    rows: np.ndarray, label: np.ndarray, folds: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The accuracy of a vote among neighbours in the other folds, and its permutation p-value.

    The neighbours do not depend on the labels, so that a permutation costs only a vote.
    """
    from scipy.spatial.distance import cdist

    deviations = rows.std(axis=0)
    z = rows / np.where(deviations > 0, deviations, 1.0)
    voters = np.empty((len(z), _odd_root(len(z))), dtype=np.int64)
    parts = np.array_split(rng.permutation(len(z)), folds)  # without looking at the labels
    for part in parts:
        others = np.setdiff1d(np.arange(len(z)), part)
        order = np.argsort(cdist(z[part], z[others]), axis=1, kind="stable")
        voters[part] = others[order[:, : voters.shape[1]]]

    def accuracy(labels: np.ndarray) -> float:
        return float(((labels[voters].mean(axis=1) > 0.5) == labels).mean())

    found = accuracy(label)
    chance = [accuracy(rng.permutation(label)) for _ in range(_PERMUTATIONS)]
    return found, (1 + sum(other >= found for other in chance)) / (1 + _PERMUTATIONS)


def _odd_root(n: int) -> int:
    """About √n voters, an odd number to avoid ties."""
    return max(1, (round(math.sqrt(n)) - 1) // 2 * 2 + 1) if n > 8 else 1


def _held_out_p_value(rows: np.ndarray, label: np.ndarray, classifier: str, seed: int) -> float:
    from scipy.stats import binomtest
    from sklearn.model_selection import train_test_split

    halves = train_test_split(rows, label, test_size=0.5, stratify=label, random_state=seed)
    train, test, train_label, test_label = halves
    with quiet_fits():
        told = _pipeline(classifier, seed).fit(train, train_label).predict(test)
    return float(binomtest(int((told == test_label).sum()), len(test), alternative="greater").pvalue)


def _decisions(rows: np.ndarray, label: np.ndarray, classifier: str, folds: int, seed: int) -> np.ndarray:
    """Whether each row is classified correctly by a classifier trained on the other folds."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with quiet_fits():
        return cross_val_predict(_pipeline(classifier, seed), rows, label, cv=split) == label


def _pipeline(name: str, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression())
    return make_pipeline(StandardScaler(), MLPClassifier((32,), alpha=1.0, max_iter=200, random_state=seed))
