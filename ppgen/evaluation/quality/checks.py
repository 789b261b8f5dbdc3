"""Checks of samples, before any measure is computed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ppgen.data.rows import describe_array, is_numeric, to_numpy
from ppgen.errors import DataError, EvaluationWarning, InvalidArgument
from ppgen.evaluation.features.spec import Features, FeatureSpec
from ppgen.evaluation.quality.measurement import Better, Measurement

__all__ = ["FEWEST", "Samples", "as_features", "check_samples", "refuse_many_rows"]

FEWEST = 4  # rows; the jackknife leaves out a group and needs two rows in the rest
_MOST_PAIRS = 400_000_000  # entries of a matrix of distances: 3.2 GB


@dataclass(frozen=True, eq=False)
class Samples:
    """Features of real and generated examples that can be compared.

    Attributes:
        real: ``(n_real, d)``, in double precision.
        generated: ``(n, d)``.
        spec: of both.
        warnings: reasons not to trust their measurements, as sentences.
    """

    real: np.ndarray
    generated: np.ndarray
    spec: FeatureSpec
    warnings: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that all their measurements share."""
        return {
            "n": len(self.generated),
            "n_real": len(self.real),
            "spec": self.spec,
            "warnings": self.warnings,
        }

    def measurement(
        self,
        name: str,
        value: float,
        interval: tuple[float, float],
        stderr: float,
        *,
        better: Better,
        how: str,
    ) -> Measurement:
        """A measurement of these samples."""
        return Measurement(
            name=name, value=value, interval=interval, stderr=stderr, better=better, how=how, **self.facts
        )


def check_samples(real: Any, generated: Any) -> Samples:
    """Check real and generated features, ``(n, d)`` each, arrays or :class:`Features`.

    Warns:
        EvaluationWarning: if either has fewer rows than features.

    Raises:
        DataError: if there are fewer than four rows, NaN, features of different widths, or all real rows are
            equal.
        InvalidArgument: if the two have features of different specs.
    """
    ours, theirs = as_features(real, "real"), as_features(generated, "generated")
    if ours.values.shape[1] != theirs.values.shape[1]:
        raise DataError(
            "generated",
            got=f"{theirs.values.shape[1]} features",
            expected=f"{ours.values.shape[1]}, as in real",
            fix="Compute both with the same features, from images of the same size.",
        )
    if ours.spec != theirs.spec:
        raise InvalidArgument(
            "generated",
            got=f"features of the spec '{theirs.spec}'",
            expected=f"'{ours.spec}', as in real",
            fix="Compute both with the same features.",
        )
    constant = (ours.values == ours.values[0]).all(axis=0)
    if constant.all():
        raise DataError(
            "real",
            got=f"{len(ours)} rows that are all the same",
            expected="rows that differ",
            fix="Check how the features were computed: constant features measure nothing.",
        )
    return Samples(ours.values, theirs.values, ours.spec, _warnings(ours, theirs, int(constant.sum())))


def as_features(rows: Any, argument: str) -> Features:
    """Convert an array ``(n, d)`` or :class:`Features` to finite features in double precision."""
    if not isinstance(rows, Features):
        matrix = _as_matrix(rows, argument)
        spec = FeatureSpec(f"an array of {matrix.shape[1]} features", quantization="not said")
        rows = Features(matrix, spec)
    values = rows.values
    if len(values) < FEWEST or values.shape[1] == 0:
        raise DataError(
            argument,
            got=f"{values.shape[0]} samples of {values.shape[1]} features",
            expected=f"at least {FEWEST} samples, for an interval",
            fix="Draw more: at least hundreds, better thousands.",
        )
    values = values.astype(np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            argument,
            got=f"{int(bad.sum())} NaN or infinite values, the first in row {int(np.argwhere(bad)[0][0])}",
            expected="finite numbers",
            fix="Check the model that drew them, or drop these rows and report it.",
        )
    return replace(rows, values=values)


def refuse_many_rows(samples: Samples) -> None:
    """Reject a distance matrix that would not fit into memory."""
    most = math.isqrt(_MOST_PAIRS)
    if max(len(samples.real), len(samples.generated)) > most:
        raise DataError(
            "generated" if len(samples.generated) > most else "real",
            got=f"{max(len(samples.real), len(samples.generated)):,} rows",
            expected=f"at most {most:,}: all distances between rows are held in memory",
            fix=f"Pass a random subset of both, for example rows[:{most // 2}].",
        )


def _as_matrix(rows: Any, argument: str) -> np.ndarray:
    values = to_numpy(rows)
    if values.ndim != 2 or not is_numeric(values):
        raise DataError(
            argument,
            got=describe_array(values),
            expected="numbers (n, d), one row of features per sample",
            fix="Write rows.reshape(len(rows), -1), or use one of ppgen.evaluation.features.",
        )
    return values


def _warnings(real: Features, generated: Features, constant: int) -> tuple[str, ...]:
    sentences = []
    for name, features in (("real", real), ("generated", generated)):
        n, width = features.values.shape
        if n < width:
            sentences.append(
                f"There are fewer {name} samples ({n:,}) than features ({width:,}): draw more, or measure on "
                "fewer features, such as PCA."
            )
    for sentence in sentences:
        warnings.warn(sentence, EvaluationWarning, stacklevel=4)
    if (generated.values == generated.values[0]).all():
        sentences.append("All generated rows are the same: the model has collapsed.")
    if constant:
        sentences.append(f"{constant} of {real.values.shape[1]} features are constant in the real rows.")
    return tuple(sentences)
