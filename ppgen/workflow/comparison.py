"""Which of several models of the same data predicts best, by how much, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from ppgen.errors import DataError, UnsupportedProgram
from ppgen.inference.posterior import Posterior
from ppgen.workflow.arguments import check_posteriors, check_same_data
from ppgen.workflow.cross_validation import CrossValidation, loo
from ppgen.workflow.stacking import mixture_elpd, pseudo_bma, stack

__all__ = ["ComparedModel", "Comparison", "compare"]

# Under these a difference and its standard error mean little (Sivula et al., arXiv:2008.10296).
_SMALLEST_DIFFERENCE = 4.0
_FEWEST_OBSERVATIONS = 100


@dataclass(frozen=True)
class ComparedModel:
    """One model's row in a comparison.

    Attributes:
        name: its name.
        elpd, stderr: expected log predictive density of all observations, in nats; higher is better.
        difference, difference_stderr: its lead over the best model, at most 0, with the standard error of
            the paired difference.
        p_better: the probability that it is in truth better than the best one, by the normal
            approximation; NaN for the best one itself.
        p_loo: its effective number of parameters.
        weight: its stacking weight.
        pseudo_bma: its pseudo-BMA+ weight.
        bad: how many observations have a Pareto shape too large to be trusted.
        log_evidence, log_evidence_stderr: of its marginal likelihood, where the method knows it and all
            priors are proper; else ``None``.
        probability: its posterior probability among the models whose evidence is known, all equally
            probable before; ``None`` unless there are two such models.
        probability_interval: its 95 % interval, over the errors of the evidences.
    """

    name: str
    elpd: float
    stderr: float
    difference: float
    difference_stderr: float
    p_better: float
    p_loo: float
    weight: float
    pseudo_bma: float
    bad: int
    log_evidence: float | None = None
    log_evidence_stderr: float | None = None
    probability: float | None = None
    probability_interval: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of :attr:`elpd`."""
        return self.elpd - 1.96 * self.stderr, self.elpd + 1.96 * self.stderr

    @property
    def difference_interval(self) -> tuple[float, float]:
        """A 95 % interval of :attr:`difference`."""
        half = 1.96 * self.difference_stderr
        return self.difference - half, self.difference + half


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models of the same data, best first.

    Attributes:
        models: one line a model.
        validations: each model's own cross-validation, by name.
        stacked_elpd: what the mixture by stacking weights would have; its weights were chosen on the same
            observations, so it is a little too high.
        evidence_note: why a model has no evidence here although its method estimates it; else empty.
        doubtful: the models whose draws did not pass their own diagnostics.
    """

    models: tuple[ComparedModel, ...]
    validations: Mapping[str, CrossValidation]
    stacked_elpd: float
    evidence_note: str = ""
    doubtful: tuple[str, ...] = ()

    @property
    def weights(self) -> dict[str, float]:
        """The stacking weights by name, for :func:`ppgen.workflow.average`."""
        return {model.name: model.weight for model in self.models}

    @property
    def best(self) -> str:
        """The name of the model with the highest expected log predictive density."""
        return self.models[0].name

    @property
    def reading(self) -> str:
        """The comparison as plain sentences."""
        sentences = [_winner(self.models), *_cautions(self.models, self.validations)]
        weights = ", ".join(f"{model.name} {model.weight:.2f}" for model in self.models)
        sentences.append(f"Stacking weights: {weights}.")
        known = [model for model in self.models if model.probability is not None]
        if known:
            first = max(known, key=lambda model: model.probability or 0.0)
            low, high = first.probability_interval or (0.0, 1.0)
            among = "" if len(known) == len(self.models) else f" among {' and '.join(m.name for m in known)}"
            sentences.append(
                f"By their evidence,{among} {first.name} has probability {first.probability:.2f} "
                f"({low:.2f} to {high:.2f}), if each was equally probable before."
            )
        if self.doubtful:
            listed = ", ".join(self.doubtful)
            sentences.append(f"The draws of {listed} have problems of their own: see `diagnose` first.")
        return " ".join([*sentences, *([self.evidence_note] if self.evidence_note else [])])

    def __str__(self) -> str:
        return self.reading

    def frame(self) -> Any:
        """A pandas table with one row a model, best first."""
        import pandas as pd

        names = list(ComparedModel.__dataclass_fields__)
        rows = [{name: getattr(model, name) for name in names} for model in self.models]
        return pd.DataFrame(rows).set_index("name").dropna(axis=1, how="all")


def compare(
    posts: Mapping[str, Posterior], *, moment_match: bool = True, refit: bool = False, seed: int = 0
) -> Comparison:
    r"""Compare models of the same data by how well they predict observations that they have not seen.

    Each model is judged by leave-one-out cross-validation (:func:`~ppgen.workflow.loo`). Differences are
    paired: :math:`\mathrm{se} = \sqrt{n} \cdot \mathrm{sd}_i(\mathrm{elpd}_{ai} - \mathrm{elpd}_{bi})`.

    Args:
        posts: posteriors by name, of any method and either language.
        moment_match, refit: what to do where importance weights do not suffice, as in ``loo``.
        seed: of the bootstrap behind pseudo-BMA+ weights and of the intervals of probabilities.

    Raises:
        InvalidArgument: if there are fewer than two models, or one is no posterior.
        UnsupportedProgram: if a program has no log density of single observations; model and site are named.
        DataError: if the models have not observed the same data.

    References:
        Vehtari, Gelman and Gabry, arXiv:1507.04544; Yao, Vehtari, Simpson and Gelman, arXiv:1704.02030;
        Sivula, Magnusson and Vehtari, arXiv:2008.10296; :func:`~ppgen.workflow.loo` has more.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y, noise):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 5.0))
        ...     numpyro.sample("y", dist.Normal(mu, noise), obs=y)
        >>> y = np.random.default_rng(0).normal(size=100)
        >>> def fit(noise):
        ...     return ppgen.infer(program, {"y": y, "noise": noise}, "laplace", progress=False)
        >>> posts = {f"noise {noise}": fit(noise) for noise in (1.0, 3.0)}
        >>> found = compare(posts)
        >>> found.best, found.models[1].difference < -40, round(found.weights["noise 1.0"], 2)
        ('noise 1.0', True, 1.0)
    """
    check_posteriors(posts)
    validations = {name: _validate(name, post, moment_match, refit) for name, post in posts.items()}
    check_same_data({name: found.observed for name, found in validations.items()})
    _check_same_units(validations)
    elpd = np.stack([found.elpd_i for found in validations.values()])
    stacked, bma = stack(elpd), pseudo_bma(elpd, seed)
    evidences, note = _evidences(posts)
    probabilities = _probabilities(evidences, seed)
    best = int(np.argmax(elpd.sum(axis=1)))
    models = []
    for k, (name, found) in enumerate(validations.items()):
        lead = elpd[k] - elpd[best]
        difference, error = float(lead.sum()), float(math.sqrt(len(lead)) * lead.std())
        evidence, evidence_error = evidences.get(name, (None, None))
        probability, probability_interval = probabilities.get(name, (None, None))
        models.append(
            ComparedModel(
                name=name,
                elpd=found.elpd,
                stderr=found.stderr,
                difference=difference,
                difference_stderr=error,
                p_better=_p_better(difference, error) if k != best else math.nan,
                p_loo=found.p_loo,
                weight=float(stacked[k]),
                pseudo_bma=float(bma[k]),
                bad=len(found.bad),
                log_evidence=evidence,
                log_evidence_stderr=evidence_error,
                probability=probability,
                probability_interval=probability_interval,
            )
        )
    models.sort(key=lambda model: -model.elpd)
    doubtful = tuple(name for name, post in posts.items() if not post.diagnostics.ok)
    return Comparison(tuple(models), validations, float(mixture_elpd(elpd, stacked).sum()), note, doubtful)


def _validate(name: str, post: Posterior, moment_match: bool, refit: bool) -> CrossValidation:
    try:
        return loo(post, moment_match=moment_match, refit=refit)
    except UnsupportedProgram as error:
        raise UnsupportedProgram(
            f"posts[{name!r}], {error.argument}", got=error.got, expected=error.expected, fix=error.fix
        ) from None


def _check_same_units(validations: Mapping[str, CrossValidation]) -> None:
    """One model may leave out single entries where another leaves out whole rows."""
    sizes = {name: len(found.elpd_i) for name, found in validations.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} {size}" for name, size in sizes.items())
        raise DataError(
            "posts",
            got=f"different numbers of log densities for the same data: {listed}",
            expected="the same observations left out in all models",
            fix="Write the observed site alike in all models: as many log densities, the same event shape.",
        )


def _evidences(posts: Mapping[str, Posterior]) -> tuple[dict[str, tuple[float, float]], str]:
    """The evidences that are known and mean something, and why others do not."""
    known: dict[str, tuple[float, float]] = {}
    improper = []
    for name, post in posts.items():
        if post.log_evidence is None or not math.isfinite(post.log_evidence.value):
            continue
        try:
            post.density.draw_prior(0, 1)
        except UnsupportedProgram as error:
            improper.append(f"{name} ({error.argument})")
        else:
            known[name] = (float(post.log_evidence.value), float(post.log_evidence.stderr))
    note = f"An evidence means nothing under an improper prior: {', '.join(improper)}." if improper else ""
    return known, note


def _probabilities(
    evidences: Mapping[str, tuple[float, float]], seed: int
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Posterior probabilities of equally probable models, with intervals over the errors of the evidences."""
    if len(evidences) < 2:
        return {}
    values, errors = np.array(list(evidences.values())).T
    noise = np.random.default_rng(seed).normal(size=(4000, len(values)))
    lows, highs = np.quantile(softmax(values + errors * noise, axis=1), [0.025, 0.975], axis=0)
    centre = softmax(values)
    return {name: (float(centre[k]), (float(lows[k]), float(highs[k]))) for k, name in enumerate(evidences)}


def _p_better(difference: float, error: float) -> float:
    if error == 0:
        return 0.5 if difference == 0 else 0.0
    return float(norm.cdf(difference / error))


def _winner(models: Sequence[ComparedModel]) -> str:
    best, second = models[:2]
    lead, error = -second.difference, second.difference_stderr
    if lead < 1e-9:
        return f"{best.name} and {second.name} predict alike."
    if lead < _SMALLEST_DIFFERENCE:
        return (
            f"{best.name} and {second.name} predict about equally well: {best.name} leads by {lead:.2g} ± "
            f"{error:.2g} nats, less than the {_SMALLEST_DIFFERENCE:.0f} from which on a difference matters."
        )
    how = "predicts best, clearly" if lead > 2 * error else "seems to predict best, but that is not certain"
    return (
        f"{best.name} {how}: {lead:.1f} ± {error:.1f} nats ahead of {second.name} "
        f"(probability of being better {_not_quite_one(1 - second.p_better)})."
    )


def _not_quite_one(probability: float) -> str:
    return f"{probability:.2f}" if probability < 0.995 else "over 0.99"


def _cautions(models: Sequence[ComparedModel], validations: Mapping[str, CrossValidation]) -> list[str]:
    words = []
    n = len(next(iter(validations.values())).elpd_i)
    if n < _FEWEST_OBSERVATIONS:
        words.append(f"With only {n} observations the standard errors are rough, and more likely too small.")
    bad = [model for model in models if model.bad]
    if bad:
        listed = ", ".join(f"{model.bad} of {model.name}" for model in bad)
        words.append(
            f"Figures of some observations cannot be trusted ({listed}): write refit=True for exact ones."
        )
    words += [f"{name}: {found.note}" for name, found in validations.items() if found.note]
    return words
