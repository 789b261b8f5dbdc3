"""The front door: measure several models on the same test rows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ppgen.data import Dataset
from ppgen.errors import InvalidArgument, NoLikelihood
from ppgen.evaluation.baselines import (
    Baseline,
    CategoricalMixture,
    GaussianMixture,
    IndependentCategorical,
    KernelDensity,
)
from ppgen.evaluation.row import Row
from ppgen.evaluation.scorecard import Scorecard
from ppgen.evaluation.subjects import HeldOut, check_model, held_out, named_models
from ppgen.program.likelihood import Likelihood, Space

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
) -> Scorecard:
    r"""Measure how likely models find held-out data, beside simple baselines fitted to the same data.

    .. math:: \text{bits/dim} = -\frac{1}{n d \ln 2} \sum_{i=1}^n \log p(x_i)

    Args:
        models: what to measure: ``{name: model}``, a list of models, or one model. A model is anything
            with ``log_prob(x)`` that returns a :class:`~ppgen.program.likelihood.Likelihood`.
        data: a :class:`~ppgen.data.Dataset` with test rows; or an array ``(n, *shape)`` of test rows,
            which has no training rows to fit baselines to.
        baselines: whether to fit the baselines too.
        seed: the seed of the baselines' fits and of the samples.
        progress: whether to show a progress bar, on standard error.
        samples: how many samples to draw to time sampling; 0 for none.

    Returns:
        A :class:`Scorecard`: bits/dim with its kind and 95 % interval, mean log p in nats, number of
        parameters, training seconds, seconds a sample.

    Raises:
        DataError: if the data has no test rows, or bad ones.
        InvalidArgument: if there is no model, a model has no ``log_prob``, or it was built for rows of
            another shape or other levels. All of this is checked before anything is computed.

    Example:
        >>> from ppgen.data import load
        >>> digits = load("digits")
        >>> counts = IndependentCategorical.fit(digits)
        >>> card = evaluate({"counts": counts}, digits, baselines=False, progress=False)
        >>> row = card["counts"]
        >>> row.kind, row.parameters, round(row.bits_per_dim, 2), [round(end, 2) for end in row.interval]
        ('exact', 1024, 2.43, [2.41, 2.45])
    """
    test = held_out(data)
    named = named_models(models)
    for name, model in named.items():
        check_model(name, model, test)
    if not isinstance(samples, int) or samples < 0:
        raise InvalidArgument("samples", got=repr(samples), expected="0 or more", fix="Write samples=64.")
    subjects = [_Subject(name, model) for name, model in named.items()]
    if baselines and isinstance(data, Dataset):
        subjects += [_Subject(maker.name, maker, fit_to=data) for maker in _BASELINES[test.space]]
    rows = [_measure(subject, test, samples, seed) for subject in _tracked(subjects, progress)]
    return Scorecard(test.name, len(test.rows), tuple(rows))


@dataclass(frozen=True, eq=False)
class _Subject:
    name: str
    model: Any  # a model, or the class of a baseline
    fit_to: Dataset | None = None


def _measure(subject: _Subject, test: HeldOut, samples: int, seed: int) -> Row:
    model, train_seconds = _trained(subject, seed)
    row = _likelihood_row(subject.name, model, test)
    return replace(
        row,
        parameters=_count_parameters(model),
        train_seconds=train_seconds,
        sample_seconds=_time_one_sample(model, samples, seed),
        baseline=subject.fit_to is not None,
    )


def _trained(subject: _Subject, seed: int) -> tuple[Any, float | None]:
    """The model and the seconds that its training took, where they are known."""
    if subject.fit_to is None:
        return subject.model, getattr(getattr(subject.model, "trained", None), "seconds", None)
    start = time.perf_counter()
    model = subject.model.fit(subject.fit_to, seed=seed)
    return model, time.perf_counter() - start


def _likelihood_row(name: str, model: Any, test: HeldOut) -> Row:
    family = type(model).__name__
    try:
        likelihood = model.log_prob(test.rows)
    except NoLikelihood as error:
        return Row(name, family, None, test.space, None, None, None, None, how=str(error))
    dims = math.prod(test.shape)
    if not isinstance(likelihood, Likelihood) or (len(likelihood), likelihood.dims) != (len(test.rows), dims):
        raise InvalidArgument(
            f"models[{name!r}].log_prob",
            got=repr(likelihood)[:80],
            expected=f"a Likelihood of {len(test.rows)} rows with {dims} dims",
            fix="Return Likelihood(values, kind, space, dims=..., how=...) with one value a row.",
        )
    return Row.of(name, family, likelihood)


def _count_parameters(model: Any) -> int | None:
    if hasattr(model, "n_parameters"):
        return model.n_parameters
    if not hasattr(model, "parameters"):
        return None
    return sum(math.prod(p.shape) for p in model.parameters() if getattr(p, "requires_grad", True))


def _time_one_sample(model: Any, samples: int, seed: int) -> float | None:
    if samples == 0 or not hasattr(model, "sample"):
        return None
    model.sample(samples, seed=seed)  # the first call may compile
    start = time.perf_counter()
    model.sample(samples, seed=seed)
    return (time.perf_counter() - start) / samples


def _tracked(subjects: Sequence[_Subject], show: bool) -> Iterator[_Subject]:
    """Yield the subjects one by one behind a progress bar that names the one at work."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show, transient=True) as bar:
        task = bar.add_task("", total=len(subjects))
        for subject in subjects:
            bar.update(task, description=f"Measuring {escape(subject.name)}")
            yield subject
            bar.advance(task)
