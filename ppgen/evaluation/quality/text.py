"""Text: a model's perplexity, and the novelty of what it writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ppgen.checks import check_integer
from ppgen.errors import DataError, InvalidArgument
from ppgen.evaluation.features.spec import FeatureSpec
from ppgen.evaluation.quality.checks import FEWEST
from ppgen.evaluation.quality.measurement import Measurement
from ppgen.kernels.monte_carlo import standard_error
from ppgen.program.likelihood import Likelihood

__all__ = ["ngram_novelty", "perplexity"]


def perplexity(likelihood: Likelihood) -> Measurement:
    r"""Return the perplexity per entry: the number of equally likely values with the same entropy.

    .. math:: \exp\Bigl(-\frac{1}{n d} \sum_{i=1}^n \log p(x_i)\Bigr)

    It is per character for rows of characters, per token for rows of tokens. A lower bound on the likelihood
    gives an upper bound on the perplexity; the spec holds the kind, so that different kinds cannot be
    compared.

    Args:
        likelihood: the result of ``model.log_prob(test_rows)``.

    Raises:
        InvalidArgument: if it is of densities, which have no perplexity, or of fewer than four rows.

    Example:
        >>> die = Likelihood(np.full(10, -3 * np.log(6)), "exact", "discrete", dims=3, how="fair dice")
        >>> round(perplexity(die).value, 6)
        6.0
    """
    if not isinstance(likelihood, Likelihood) or likelihood.space != "discrete" or len(likelihood) < FEWEST:
        raise InvalidArgument(
            "likelihood",
            got=f"{likelihood!r}"[:80],
            expected=f"the Likelihood of at least {FEWEST} rows of discrete values",
            fix="Write perplexity(model.log_prob(data.test)).",
        )
    nats, stderr = -likelihood.mean() / likelihood.dims, likelihood.mean_stderr() / likelihood.dims
    value = math.exp(nats)
    return Measurement(
        name="perplexity",
        value=value,
        interval=(math.exp(nats - 1.96 * stderr), math.exp(nats + 1.96 * stderr)),
        stderr=value * stderr,
        n=0,
        n_real=len(likelihood),
        spec=FeatureSpec(f"log p of test rows, {likelihood.kind}", quantization="discrete values"),
        better="lower",
        how=f"of one of {likelihood.dims} entries of a row",
    )


def ngram_novelty(*, train: Any, generated: Any, real: Any = None, length: int = 8) -> Measurement:
    r"""The share of n-grams of ``length`` entries in generated rows that never occur in the training set.

    .. math:: \frac{\#\{(j, t) : (y_{j,t}, \dots, y_{j,t+L-1}) \notin \text{train}\}}{n (d - L + 1)}

    Near 0 the model recites. Held-out text, passed as ``real``, shows what is natural. The interval is over
    rows, as n-grams within a row overlap. (McCoy et al. 2021, "How much do language models copy
    from their training data?", arXiv:2111.09509.)

    Args:
        train: rows of levels ``(k, d)``.
        generated: rows of levels ``(n, d)``, at least four.
        real: held-out rows, whose own novelty is reported in ``how`` as a reference.
        length: the length of the n-grams.

    Raises:
        DataError: if rows are not integers, or too few or too short.

    Example:
        >>> from ppgen.data.text import encode
        >>> train = encode("to be or not to be, that is the question", window=40)
        >>> recited = np.repeat(encode("that is the question", window=20), 4, axis=0)
        >>> ngram_novelty(train=train, generated=recited, length=5).value
        0.0
    """
    check_integer("length", length, most=1000, example=8)
    known = _runs(_rows(train, "train", length), length)
    counts = _new_in_each(_rows(generated, "generated", length, FEWEST), known, length)
    value, n = float(counts.mean()), len(counts)
    # Rows have equal lengths, so that the overall share is the mean of the rows' shares.
    stderr = float(standard_error(counts))
    how, n_real = f"runs of {length} entries", 0
    if real is not None:
        reference = _new_in_each(_rows(real, "real", length), known, length)
        how, n_real = f"{how}; that of the held-out rows is {reference.mean():.3f}", len(reference)
    return Measurement(
        name=f"novelty of {length}-grams",
        value=value,
        interval=(max(0.0, value - 1.96 * stderr), min(1.0, value + 1.96 * stderr)),
        stderr=stderr,
        n=n,
        n_real=n_real,
        spec=FeatureSpec("runs of entries", quantization="discrete values"),
        better="neither",
        how=how,
    )


def _rows(rows: Any, argument: str, length: int, least: int = 1) -> np.ndarray:
    values = np.asarray(rows)
    if values.ndim != 2 or values.dtype.kind not in "iu" or len(values) < least or values.shape[1] < length:
        raise DataError(
            argument,
            got=f"an array of shape {values.shape} and dtype {values.dtype}",
            expected=f"integers (n, d), at least {least} rows of at least {length} entries",
            fix="Write ppgen.data.text.encode(text), or a smaller length.",
        )
    return values


def _runs(rows: np.ndarray, length: int) -> set[bytes]:
    return {run for row in rows for run in _runs_of(row, length)}


def _runs_of(row: np.ndarray, length: int) -> list[bytes]:
    windows = np.lib.stride_tricks.sliding_window_view(row.astype(np.int64), length)
    return [window.tobytes() for window in windows]


def _new_in_each(rows: np.ndarray, known: set[bytes], length: int) -> np.ndarray:
    return np.array([np.mean([run not in known for run in _runs_of(row, length)]) for row in rows])
