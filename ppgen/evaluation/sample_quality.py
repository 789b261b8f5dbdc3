"""All sample-quality measures of a model, against the same real examples for every model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data import Dataset
from ppgen.errors import DataError, EvaluationWarning, PpgenError
from ppgen.evaluation.features.plain import Standardised
from ppgen.evaluation.features.registry import choose_features, is_text
from ppgen.evaluation.features.spec import Features, Takes
from ppgen.evaluation.quality.copying import memorisation
from ppgen.evaluation.quality.coverage import density_coverage
from ppgen.evaluation.quality.frechet import frechet_distance
from ppgen.evaluation.quality.kernel import kernel_distance
from ppgen.evaluation.quality.manifold import precision_recall
from ppgen.evaluation.quality.measurement import JointMeasurement, Measurement
from ppgen.evaluation.quality.text import ngram_novelty
from ppgen.evaluation.quality.two_sample import classifier_two_sample_test
from ppgen.evaluation.subjects import HeldOut

__all__ = ["FEWEST_ROWS", "Real", "read_sentences"]

FEWEST_ROWS = 50
"""The fewest test examples on which sample quality is measured."""

_MOST_ROWS = 500  # by default; the cost of neighbour-based measures grows with the square
_MOST_TRAINING_VALUES = 100_000_000  # 800 MB in double precision
_COPIES = "data-copying z"
_HINDSIGHT = -3.0  # of z: below this, closeness to the training set is not chance
_UNKNOWN = (
    "its memorisation was not measured: the training rows are not in the data, or hold more than "
    f"{_MOST_TRAINING_VALUES:,} values; ppgen.evaluation.memorisation takes features of them"
)


Measured = Measurement | JointMeasurement

METRICS: tuple[Callable[[Features, Features, int], Measured], ...] = (
    lambda real, own, seed: frechet_distance(real=real, generated=own, seed=seed),
    lambda real, own, seed: kernel_distance(real=real, generated=own),
    lambda real, own, seed: precision_recall(real=real, generated=own, seed=seed),
    lambda real, own, seed: density_coverage(real=real, generated=own, seed=seed),
    lambda real, own, seed: classifier_two_sample_test(real=real, generated=own, seed=seed),
)
"""The measures of a scorecard: from features of real and generated examples, and a seed, to measurements."""


@dataclass(frozen=True, eq=False)
class Real:
    """The real data that the samples of every model are compared with.

    Attributes:
        features: how features are made; ``None`` for text.
        rows: the real examples ``(m, *shape)``.
        train: the training set, for memorisation; ``None`` where it is unknown, or too large.
        unseen: validation examples, which show what real data score themselves; ``None`` if too few.
        values: standardised values, which no training biases: memorisation is measured on them.
        count: how many samples to draw from each model.
        seed: the seed of the subsets.
    """

    features: Takes | None
    rows: np.ndarray
    train: np.ndarray | None
    unseen: np.ndarray | None
    values: Takes
    count: int
    seed: int

    @classmethod
    def of(cls, data: Any, test: HeldOut, features: Any, count: int | None, seed: int) -> Real:
        """Choose the features and the real examples.

        Raises:
            InvalidArgument: if the features do not suit the data.
            StorageError: if their weights are missing.
        """
        dataset = data if isinstance(data, Dataset) else None
        count = min(len(test.rows), _MOST_ROWS) if count is None else count
        text = is_text(test.shape, test.levels) and features == "auto"
        chosen = None if text else choose_features(features, dataset, test.rows, test.levels)
        few = dataset is not None and dataset.train.size <= _MOST_TRAINING_VALUES
        train = np.asarray(dataset.train) if dataset is not None and few else None
        unseen = dataset.valid if dataset is not None and len(dataset.valid) >= FEWEST_ROWS else None
        return cls(
            chosen,
            _some(test.rows, max(count, FEWEST_ROWS), seed),
            train,
            None if unseen is None else _some(np.asarray(unseen), max(count, FEWEST_ROWS), seed + 1),
            Standardised.of_rows(test.rows if train is None else train, test.levels),
            count,
            seed,
        )

    def of_model(self, model: Any) -> tuple[tuple[Measurement, ...], str]:
        """The measurements of a model's samples; or none, and a sentence that says why."""
        try:
            rows = np.asarray(model.sample(self.count, seed=self.seed))
            return self.measure(rows), "" if self.train is not None else _UNKNOWN
        except PpgenError as error:
            return (), f"its samples could not be measured: {error}"

    def of_unseen_rows(self) -> tuple[Measurement, ...]:
        """The measurements of validation examples, as if a model had drawn them; none if too few."""
        return () if self.unseen is None else self.measure(self.unseen)

    def measure(self, generated: np.ndarray) -> tuple[Measurement, ...]:
        """All measurements of generated examples ``(n, *shape)``.

        Raises:
            DataError: if their shape differs from the data's.
        """
        if generated.shape[1:] != self.rows.shape[1:]:
            raise DataError(
                "sample",
                got=f"rows of shape {generated.shape[1:]}",
                expected=f"{self.rows.shape[1:]}, as in the data",
                fix="Return (n, *shape) in the data's own values.",
            )
        with warnings.catch_warnings():  # the scorecard says the same in its own sentences
            warnings.simplefilter("ignore", EvaluationWarning)
            return tuple(figure for found in self._found(generated) for figure in found.measurements)

    def _found(self, generated: np.ndarray) -> list[Measured]:
        if self.features is None:
            known = self.train is not None
            return [ngram_novelty(train=self.train, generated=generated, real=self.rows)] if known else []
        real, own = self.features(self.rows), self.features(generated)
        found = [metric(real, own, self.seed) for metric in METRICS]
        if self.train is not None:
            rows = {"train": self.train, "real": self.rows, "generated": generated}
            found.append(memorisation(**{name: self.values(part) for name, part in rows.items()}))
        return found


def read_sentences(named: Sequence[tuple[str, Sequence[Measurement]]]) -> tuple[str, ...]:
    """State in sentences what follows from the sample-quality measurements of several models."""
    measured = [figure for _, figures in named for figure in figures]
    if not measured:
        return ()
    names = {figure.name for figure in measured}
    specs = dict.fromkeys(figure.spec.name for figure in measured if figure.name != _COPIES)
    copying = [
        name
        for name, figures in named
        if any(figure.name == _COPIES and figure.value < _HINDSIGHT for figure in figures)
    ]
    first = named[-1][1][0]  # of a model; the unseen real examples come first, and may be fewer
    sentences = [
        (
            True,
            f"Sample quality is measured on {' and '.join(specs)}, {first.n:,} generated against "
            f"{first.n_real:,} real rows; figures on other features are not comparable. "
            "± reaches to the farther end of a 95 % interval.",
        ),
        (
            "precision" in names,
            "Lower distances are better, and higher precision, recall and coverage; where nothing is wrong, "
            "density is 1 and a classifier is right half of the time.",
        ),
        (
            _COPIES in names,
            "Authentic rows are not copies of training rows; not all held-out rows are authentic either. "
            "A data-copying z below −3 says that a model copies, one above 3 that it underfits.",
        ),
        (bool(copying), f"Copies of training rows: {', '.join(copying)}."),
    ]
    warned = dict.fromkeys(sentence for figure in measured for sentence in figure.warnings)
    return (*(sentence for applies, sentence in sentences if applies), *warned)


def _some(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most ``count`` of the rows, chosen at random, in their original order."""
    if len(rows) <= count:
        return rows
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]
