"""One page for posteriors, a workflow, or a scorecard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ppgen.errors import InvalidArgument, PpgenError
from ppgen.evaluation.scorecard import Scorecard
from ppgen.inference.posterior import Posterior
from ppgen.reports.page import Page
from ppgen.reports.posterior_chapter import (
    Opener,
    in_short,
    write_posterior,
    write_program,
    write_reproduction,
)
from ppgen.reports.reproduce import made_with
from ppgen.reports.result_chapters import best_of, write_calibration, write_comparison, write_scorecard
from ppgen.storage import check_writable
from ppgen.workflow.calibration.result import Calibration
from ppgen.workflow.comparison import Comparison, compare
from ppgen.workflow.diagnosis import diagnose

__all__ = ["report"]

Result = Posterior | Mapping[str, Posterior] | Comparison | Calibration | Scorecard
"""What a report can be made of."""


def report(*results: Any, path: str | os.PathLike[str] | None = None, title: str = "", seed: int = 0) -> Page:
    """Put results into one self-contained HTML page: what was done, what came out, how far to trust it.

    Of a posterior it shows the program, the data, a prior check, the fit with its diagnosis, the estimates, a
    predictive check, the sensitivity to the prior, and the code that reproduces it.
    Several posteriors are compared as well. The page loads nothing and runs nothing.

    Args:
        *results: any of a posterior, ``{name: posterior}``, and what :func:`ppgen.workflow.compare`,
            :func:`ppgen.workflow.calibrate` and :func:`ppgen.evaluate` return.
        path: where to write it.
        title: of the page; by default the names of what it holds.
        seed: of the predictive draws.

    Returns:
        The page, to be looked at in a notebook, written, or added to.

    Raises:
        InvalidArgument: if there is no result, or one of another kind.
        StorageError: if the path cannot be written; this is checked first.

    Example:
        >>> import ppgen
        >>> from ppgen.models.bayesian.eight_schools import eight_schools
        >>> post = ppgen.infer(eight_schools, ppgen.data.load("eight_schools"))          # doctest: +SKIP
        >>> report(post, path="eight_schools.html")                                      # doctest: +SKIP
        Page('eight schools': In short, The program, The data, Before the data: the prior, The fit, …)
    """
    posteriors, comparisons, calibrations, cards = _sorted(results)
    if path is not None:
        check_writable(path)
    page = Page(
        title or _title(posteriors, cards) or "Report", made_with=made_with(**_seeds(posteriors, seed))
    )
    short = page.section("In short")
    if len(posteriors) > 1 and not comparisons:
        comparisons = [found for found in [_compared(posteriors, page)] if found]
    for name, post in posteriors.items():
        verdict = diagnose(post)
        named = f"{name}: {in_short(post)}" if len(posteriors) > 1 else in_short(post)
        short.note(verdict.severity, " ".join([named, *(finding.what for finding in verdict.wrong[:1])]))
        _write_one(page, name if len(posteriors) > 1 else "", post, seed)
    for comparison in comparisons:
        short.text(comparison.reading)
        write_comparison(page.section("Comparison"), comparison)
    for calibration in calibrations:
        short.note("ok" if calibration.ok else "problem", calibration.reading)
        write_calibration(page.section("Calibration"), calibration)
    for card in cards:
        short.bullets(*best_of(card))
        write_scorecard(page.section(f"Scorecard: {card.dataset}"), card)
    if path is not None:
        page.write(path)
    return page


def _write_one(page: Page, name: str, post: Posterior, seed: int) -> None:
    """A posterior's parts: sections of their own where it is alone, else headings under its name."""
    open_part: Opener = page.section(name).heading if name else page.section
    write_program(open_part, post)
    write_posterior(open_part, post, seed)
    write_reproduction(open_part, post)


def _compared(posteriors: Mapping[str, Posterior], page: Page) -> Comparison | None:
    try:
        return compare(posteriors)
    except PpgenError as error:
        page.section("Comparison").note("warning", f"The posteriors cannot be compared. {error}")
        return None


def _title(posteriors: Mapping[str, Posterior], cards: list[Scorecard]) -> str:
    return ", ".join([*posteriors, *(card.dataset for card in cards)])


def _seeds(posteriors: Mapping[str, Posterior], seed: int) -> dict[str, Any]:
    drawn = ", ".join(f"{name} {post.seed}" for name, post in posteriors.items())
    return {"seed": seed, **({"seeds of the draws": drawn} if drawn else {})}


def _sorted(
    results: tuple[Any, ...],
) -> tuple[dict[str, Posterior], list[Comparison], list[Calibration], list[Scorecard]]:
    posteriors: dict[str, Posterior] = {}
    others: dict[type, list[Any]] = {Comparison: [], Calibration: [], Scorecard: []}
    for i, result in enumerate(results):
        kind = next((kind for kind in others if isinstance(result, kind)), None)
        if isinstance(result, Posterior):
            posteriors[_unused(posteriors, _named(result))] = result
        elif kind is not None:
            others[kind].append(result)
        elif isinstance(result, Mapping) and result and all(map(_is_named_posterior, result.items())):
            posteriors |= result
        else:
            raise _unknown(i, result)
    if not posteriors and not any(others.values()):
        raise _unknown(0, None)
    return posteriors, others[Comparison], others[Calibration], others[Scorecard]


def _is_named_posterior(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and bool(item[0].strip()) and isinstance(item[1], Posterior)


def _named(post: Posterior) -> str:
    program = post.density.program
    return getattr(program, "__name__", type(program).__name__).replace("_", " ")


def _unused(posteriors: Mapping[str, Posterior], name: str) -> str:
    taken = sum(other == name or other.startswith(f"{name} ") for other in posteriors)
    return f"{name} {taken + 1}" if taken else name


def _unknown(i: int, result: Any) -> InvalidArgument:
    return InvalidArgument(
        f"results[{i}]",
        got="nothing" if result is None else f"a {type(result).__name__}",
        expected="a Posterior, {name: Posterior}, a Comparison, a Calibration or a Scorecard",
        fix='Write ppgen.report(post), or ppgen.report({"centred": a, "non-centred": b}).',
    )
