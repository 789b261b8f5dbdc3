"""What a report says of one posterior, from the program to the sensitivity of what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ppgen import plots
from ppgen.errors import PpgenError
from ppgen.inference.citations import cite
from ppgen.inference.posterior import Posterior
from ppgen.inference.summary import named_entries
from ppgen.program.languages.language import find_language
from ppgen.reports.page import Section
from ppgen.reports.reproduce import call_of, source_of
from ppgen.style.entries import coordinates_of
from ppgen.workflow.coverage import loo_pit
from ppgen.workflow.diagnosis import diagnose
from ppgen.workflow.power_scaling import Sensitivity, sensitivity
from ppgen.workflow.predictive import posterior_predictive, prior_predictive
from ppgen.workflow.predictive_checks import PredictiveCheck, check

__all__ = ["Opener", "in_short", "write_posterior", "write_program", "write_reproduction"]

Opener = Callable[[str], Section]
"""Begins the next part of the report under this title."""

_MOST_TRACES = 6
_MOST_ROWS = 40  # of the summary
_FEW = 30  # observations that are shown one by one
_MOST_NAMED = 4


def in_short(post: Posterior) -> str:
    """A posterior in a sentence or two: how it was drawn, and its first quantities."""
    chains, draws = post.positions.shape[:2]
    parts = _scalars_first(post)
    chosen = [name for name in parts if name in post.draws] or list(parts)  # numbers, where there are any
    estimates = ", ".join(
        f"`{name}` {parts[name].mean():.3g} ± {parts[name].std():.2g}" for name in chosen[:_MOST_NAMED]
    )
    evidence = "" if post.log_evidence is None else f" Log evidence {post.log_evidence}."
    return f"`{post.method}`, {chains * draws:,} draws in {post.seconds:.1f} seconds: {estimates}.{evidence}"


def write_program(open_part: Opener, post: Posterior) -> None:
    """The program's source, what it samples, and the data that it was given."""
    section = open_part("The program")
    section.text(f"Written in {find_language(post.density.engine).title}:")
    section.code(source_of(post.density.program))
    section.table(
        ("site", "role", "distribution", "support", "shape", "plates"),
        [
            (
                site.name,
                site.role,
                site.distribution or "–",
                site.support if site.role in ("latent", "observed") else "–",
                " × ".join(map(str, site.shape)) or "number",
                ", ".join(plate.name for plate in site.plates) or "–",
            )
            for site in post.density.sites
        ],
        caption="What the program samples, observes and computes.",
    )
    if post.data:
        open_part("The data").table(
            ("argument", "shape", "type", "smallest", "mean", "largest"),
            [_described(name, value) for name, value in post.data.items()],
        )


def write_posterior(open_part: Opener, post: Posterior, seed: int) -> None:
    """Prior check, fit, diagnosis, estimates, predictive check and sensitivity."""
    _write_prior_check(open_part("Before the data: the prior"), post, seed)
    _write_fit(open_part("The fit"), post)
    _write_estimates(open_part("The posterior"), post)
    _write_predictive_check(open_part("After the data: would the model have produced them?"), post, seed)
    _write_sensitivity(open_part("What the prior adds"), post)


def write_reproduction(open_part: Opener, post: Posterior) -> None:
    """The call that gives the same posterior, and whom to cite."""
    section = open_part("How to reproduce it")
    section.code(call_of(post))
    section.text("What to cite:")
    section.code(cite(post))


# -- the parts ---------------------------------------------------------------------------------------------


def _write_prior_check(section: Section, post: Posterior, seed: int) -> None:
    section.text("Data that the program makes when it has seen none, next to the data there are.")
    with _unless_impossible(section, "prior check"):
        drawn = prior_predictive(
            post.density.program, post.data, draws=1000, seed=seed, engine=post.density.engine
        )
        for site in _replicated(drawn, "prior_predictive"):
            _write_check(section, post, check(drawn, site=site), "the prior predicts for it")


def _write_fit(section: Section, post: Posterior) -> None:
    chains, draws = post.positions.shape[:2]
    section.text(
        f"`{post.method}`: {chains} chains of {draws} draws, seed {post.seed}, in {post.seconds:.1f} s, "
        "compilation included." + (f" {post.how}" if post.how else "")
    )
    for finding in diagnose(post).findings:
        section.note(finding.severity, f"{finding.topic[:1].upper()}{finding.topic[1:]}: {finding}")
    chosen = dict(list(_scalars_first(post).items())[:_MOST_TRACES])
    section.figure(
        plots.trace(chosen),
        caption="Each chain's density and path: chains that agree lie on top of each other.",
        alt=f"Densities and paths of {', '.join(chosen)} in each chain",
    )


def _write_estimates(section: Section, post: Posterior) -> None:
    table = post.summary()
    rows = [[name, *(table[column][name] for column in table.columns)] for name in table.index[:_MOST_ROWS]]
    more = f" The first {_MOST_ROWS} of {len(table)}." if len(table) > _MOST_ROWS else ""
    section.table(
        ["quantity", *map(str, table.columns)],
        rows,
        caption="Means, standard deviations, intervals, Monte Carlo errors, effective sample sizes." + more,
    )
    section.figure(
        plots.forest(dict(named_entries(post.draws, post.coords, post.dims))),
        caption="Medians with 50 % and 94 % intervals.",
        alt="Intervals of every quantity of the posterior",
    )


def _write_predictive_check(section: Section, post: Posterior, seed: int) -> None:
    with _unless_impossible(section, "predictive check"):
        drawn = posterior_predictive(post, seed=seed)
        for site in _replicated(drawn, "posterior_predictive"):
            found = check(drawn, site=site)
            _write_check(section, post, found, "the fitted model predicts for it")
            section.figure(
                plots.statistics_check(found),
                caption="Test statistics of replicated data, and of the data there are.",
                alt=f"Histograms of test statistics of replicated {site} with the observed values",
            )
            _write_coverage(section, post, site, seed)


def _write_check(section: Section, post: Posterior, found: PredictiveCheck, what: str) -> None:
    _write_verdict(section, found)
    section.figure(
        _predictive_picture(found, post),
        caption=f"Observed `{found.site}` and what {what}.",
        alt=f"Observed {found.site} next to draws from the {found.source} predictive distribution",
    )


def _write_coverage(section: Section, post: Posterior, site: str, seed: int) -> None:
    with _unless_impossible(section, f"leave-one-out check of {site}"):
        pit = loo_pit(post, site, seed=seed)
        section.note("ok" if pit.ok and not pit.bad else "warning", pit.reading)
        section.figure(
            plots.loo_pit_band(pit),
            caption="Where each observation lies in what the others predict for it: the curve of calibrated "
            "predictions stays in the band in 95 % of cases.",
            alt=f"Difference between the ECDF of the leave-one-out transform of {site} and a uniform one",
        )


def _write_sensitivity(section: Section, post: Posterior) -> None:
    with _unless_impossible(section, "sensitivity analysis"):
        found = sensitivity(post)
        section.text("How the posterior moves when prior or likelihood are made weaker or stronger.")
        _write_verdict(section, found)
        section.figure(
            plots.power_sensitivity(found),
            caption="Left: sensitivity of each parameter; beyond the line it counts. Right: how the most "
            "sensitive one moves as prior and likelihood are raised to a power.",
            alt="Sensitivity of each parameter to its prior and to the likelihood",
        )


# -- pieces ------------------------------------------------------------------------------------------------


@contextmanager
def _unless_impossible(section: Section, what: str) -> Iterator[None]:
    """Write a part of a section, or why this posterior has none."""
    try:
        yield
    except PpgenError as error:
        section.note("warning", f"There is no {what}. {error}")


def _write_verdict(section: Section, found: PredictiveCheck | Sensitivity) -> None:
    section.note("ok" if found.ok else "warning", found.reading)


def _scalars_first(post: Posterior) -> dict[str, np.ndarray]:
    """Every scalar ``(chain, draw)``: sites of one number, then the worst, then entries of larger sites."""
    parts = dict(named_entries(post.draws, post.coords, post.dims))
    worst = post.diagnostics.worst
    return dict(sorted(parts.items(), key=lambda part: (part[0] not in post.draws, part[0] != worst)))


def _described(name: str, value: Any) -> tuple[object, ...]:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not array.size:
        return name, "–", type(value).__name__, None, None, None
    shape = " × ".join(map(str, array.shape)) or "number"
    return name, shape, str(array.dtype), float(array.min()), float(array.mean()), float(array.max())


def _replicated(drawn: Any, group: str) -> Iterator[str]:
    """The observed sites that were redrawn."""
    observed = drawn["observed_data"].data_vars
    return (str(name) for name in drawn[group].data_vars if name in observed)


def _predictive_picture(found: PredictiveCheck, post: Posterior) -> Figure:
    observed = np.asarray(found.observed).ravel()
    replicated = np.asarray(found.replicated).reshape(len(found.replicated), -1)
    if found.discrete and len(observed) > _FEW:
        return plots.count_check(observed, replicated, quantity=found.site)
    shape, dims = np.shape(found.observed), post.dims.get(found.site, ())
    labels = [coordinates_of(index, shape, post.coords, dims) for index in np.ndindex(shape)]
    return plots.predictive_check(observed, replicated, labels=labels, quantity=found.site)
