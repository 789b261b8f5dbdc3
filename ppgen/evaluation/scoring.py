"""Evaluate several models on the same test set."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ppgen.checks import check_integer
from ppgen.data import Dataset
from ppgen.errors import InvalidArgument, NoLikelihood
from ppgen.evaluation.baselines import (
    Baseline,
    CategoricalMixture,
    GaussianMixture,
    IndependentCategorical,
    KernelDensity,
)
from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.row import Row
from ppgen.evaluation.sample_quality import FEWEST_ROWS, Real
from ppgen.evaluation.scorecard import Scorecard
from ppgen.evaluation.subjects import HeldOut, check_model, held_out, named_models
from ppgen.program.capabilities import HasParameterCount, HasParameters, HasSamples, HasTraining
from ppgen.program.family import HasLogProb
from ppgen.program.likelihood import Likelihood, Space
from ppgen.style.bar import ProgressBar

__all__ = ["evaluate"]

_BASELINES: Mapping[Space, tuple[type[Baseline], ...]] = {
    "discrete": (IndependentCategorical, CategoricalMixture, GaussianMixture, KernelDensity),
    "continuous": (GaussianMixture, KernelDensity),
}


def evaluate(
    models: Any,
    data: Any,
    *,
    baselines: bool = True,
    seed: int = 0,
    progress: bool = True,
    samples: int = 64,
    features: Any = "auto",
    generated: int | None = None,
) -> Scorecard:
    r"""Evaluate the likelihood of held-out data under models, and the quality of their samples.

    Simple baselines, fitted to the same data, are evaluated alongside.

    .. math:: \text{bits/dim} = -\frac{1}{n d \ln 2} \sum_{i=1}^n \log p(x_i)

    Args:
        models: what to evaluate: ``{name: model}``, a list of models, or one model. A model is anything
            with ``log_prob(x)`` that returns a :class:`~ppgen.program.likelihood.Likelihood`, or with
            ``sample(n, seed=...)``, or with both.
        data: a :class:`~ppgen.data.Dataset` with a test set; or an array ``(n, *shape)`` of test examples,
            in which case no baselines are fitted.
        baselines: whether to fit the baselines too.
        seed: the seed of the baselines' fits and of the samples.
        progress: whether to show a progress bar, on standard error.
        samples: how many samples to draw to time sampling; 0 for none.
        features: the features that sample quality is measured on: ``"auto"``, ``"pixels"``,
            ``"standardised"``, ``"pca"``, ``"classifier"``, ``"efficientnet_lite0"``,
            ``"inception_v3"``, or an object like those of :mod:`ppgen.evaluation.features`. ``"auto"``
            takes a classifier for the digits, PCA for other images, standardised values for vectors.
        generated: how many samples of each model to measure quality on; by default as many as there are test
            examples, at most 500; 0 for none.

    Returns:
        A :class:`Scorecard`: bits/dim with its kind and 95 % interval, mean log p in nats, number of
        parameters, training seconds, seconds per sample; and the quality of samples: the Fréchet and the
        kernel distance, precision, recall, density, coverage, a classifier two-sample test, memorisation.

    Raises:
        DataError: if the data has no test examples, or invalid ones.
        InvalidArgument: if there is no model, a model has neither ``log_prob`` nor ``sample``, or it was
            built for another shape or other levels; or if the features do not suit the data. All of this is
            checked before anything is computed.
        StorageError: if the features' weights are missing.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> counts = IndependentCategorical.fit(digits)
        >>> card = evaluate({"counts": counts}, digits, baselines=False, generated=200, progress=False)
        >>> row = card["counts"]
        >>> row.kind, row.parameters, round(row.bits_per_dim, 2), [round(end, 2) for end in row.interval]
        ('exact', 1024, 2.43, [2.41, 2.45])
        >>> row.measured("precision").value < 0.6  # independent pixels do not make digits
        True
    """
    test = held_out(data)
    named = named_models(models)
    for name, model in named.items():
        check_model(name, model, test)
    check_integer("samples", samples, least=0, example=64)
    real = _real_rows(data, test, features, generated, seed)
    subjects = [_Subject(name, model) for name, model in named.items()]
    if baselines and isinstance(data, Dataset):
        subjects += [_Subject(maker.name, maker, fit_to=data) for maker in _BASELINES[test.space]]
    rows = []
    with ProgressBar("Measuring", len(subjects), show=progress) as bar:
        for subject in subjects:
            bar.advance(0, note=subject.name)
            rows.append(_measure(subject, test, real, samples, seed))
            bar.advance()
    unseen = () if real is None else real.of_unseen_rows()
    return Scorecard(test.name, len(test.rows), tuple(rows), unseen)


@dataclass(frozen=True, eq=False)
class _Subject:
    name: str
    model: Any  # a model, or the class of a baseline
    fit_to: Dataset | None = None


def _real_rows(data: Any, test: HeldOut, features: Any, generated: int | None, seed: int) -> Real | None:
    """The real data to compare samples with; ``None`` if samples are not measured."""
    if generated:
        check_integer("generated", generated, least=FEWEST_ROWS, example=500)
    if generated == 0 or len(test.rows) < FEWEST_ROWS:
        return None
    return Real.of(data, test, features, generated, seed)


def _measure(subject: _Subject, test: HeldOut, real: Real | None, samples: int, seed: int) -> Row:
    model, train_seconds = _trained(subject, seed)
    row = _likelihood_row(subject.name, model, test)
    quality, note = _quality(model, test, real)
    return replace(
        row,
        quality=quality,
        quality_note=note,
        parameters=_count_parameters(model),
        train_seconds=train_seconds,
        sample_seconds=_time_one_sample(model, samples, seed),
        baseline=subject.fit_to is not None,
    )


def _trained(subject: _Subject, seed: int) -> tuple[Any, float | None]:
    """The trained model and its training time in seconds, if known."""
    if subject.fit_to is None:
        trained = subject.model.trained if isinstance(subject.model, HasTraining) else None
        return subject.model, None if trained is None else trained.seconds
    start = time.perf_counter()
    model = subject.model.fit(subject.fit_to, seed=seed)
    return model, time.perf_counter() - start


def _quality(model: Any, test: HeldOut, real: Real | None) -> tuple[tuple[Measurement, ...], str]:
    if not isinstance(model, HasSamples):
        return (), "it has no samples to measure"
    if real is not None:
        return real.of_model(model)
    few = len(test.rows) < FEWEST_ROWS
    return (), f"fewer than {FEWEST_ROWS} test rows measure no samples" if few else ""


def _likelihood_row(name: str, model: Any, test: HeldOut) -> Row:
    family = type(model).__name__
    if not isinstance(model, HasLogProb):
        how = "it has no log_prob; only the quality of its samples can be measured"
        return Row(name, family, None, test.space, how=how)
    try:
        likelihood = model.log_prob(test.rows)
    except NoLikelihood as error:
        return Row(name, family, None, test.space, how=str(error))
    dims = math.prod(test.shape)
    if not isinstance(likelihood, Likelihood) or (len(likelihood), likelihood.dims) != (len(test.rows), dims):
        raise InvalidArgument(
            f"models[{name!r}].log_prob",
            got=repr(likelihood)[:80],
            expected=f"a Likelihood of {len(test.rows)} rows with {dims} dims",
            fix="Return Likelihood(values, kind, space, dims=..., how=...) with one value per row.",
        )
    return Row.of(name, family, likelihood)


def _count_parameters(model: Any) -> int | None:
    if isinstance(model, HasParameterCount):
        return model.n_parameters
    if not isinstance(model, HasParameters):
        return None
    return sum(math.prod(p.shape) for p in model.parameters() if getattr(p, "requires_grad", True))


def _time_one_sample(model: Any, samples: int, seed: int) -> float | None:
    if samples == 0 or not isinstance(model, HasSamples):
        return None
    model.sample(samples, seed=seed)  # the first call may compile
    start = time.perf_counter()
    model.sample(samples, seed=seed)
    return (time.perf_counter() - start) / samples
