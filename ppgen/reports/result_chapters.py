"""What a report says of a comparison, of a calibration and of a scorecard."""

from __future__ import annotations

from collections.abc import Iterator

from ppgen import plots
from ppgen.evaluation.row import SIGNS
from ppgen.evaluation.scorecard import Scorecard
from ppgen.reports.page import Section
from ppgen.workflow.calibration.result import Calibration
from ppgen.workflow.comparison import Comparison

__all__ = ["best_of", "write_calibration", "write_comparison", "write_scorecard"]


def write_comparison(section: Section, found: Comparison) -> None:
    """Who predicts best, by how much, and how sure that is."""
    section.text(found.reading)
    table = found.frame()
    section.table(
        ["model", *(str(column).replace("_", " ") for column in table.columns)],
        [[name, *(_cell(table[column][name]) for column in table.columns)] for name in table.index],
        caption="Expected log predictive density of an observation that was left out, by PSIS-LOO; the best "
        "first. Differences are to the best, paired over observations.",
    )
    section.figure(
        plots.model_comparison(found),
        caption="Expected log predictive density with 95 % intervals, and the difference to the best model.",
        alt="Expected log predictive density of each model and paired differences",
    )


def write_calibration(section: Section, found: Calibration) -> None:
    """Whether the method recovers what was simulated."""
    section.text(found.reading)
    for problem in found.problems:
        section.note("problem", problem)
    if found.ok:
        section.note("ok", "The ranks of the truths among the draws are uniform.")
    section.figure(
        plots.ecdf_difference(found),
        caption="The ECDF of the ranks, less that of uniform ones; uniform ranks stay in the band in 95 % of "
        "cases.",
        alt="Differences of the ECDFs of the ranks from uniform ones",
    )


def write_scorecard(section: Section, card: Scorecard) -> None:
    """Likelihoods by kind, sample quality, and what they cost."""
    section.embed(card)
    section.figure(
        card.plot(),
        caption="Bits per dimension with 95 % intervals over test sets of this size; lower is better. Exact "
        "numbers and bounds stand apart.",
        alt="Bits per dimension of each model and baseline with intervals, grouped by kind of number",
    )
    if any(row.quality for row in card.rows):
        section.figure(
            plots.precision_recall(card),
            caption="What samples get right against what they leave out; the upper right corner is best.",
            alt="Precision against recall of each model's samples",
        )
    if any(row.bits_per_dim is not None and row.sample_seconds for row in card.rows):
        section.figure(
            plots.cost(card),
            caption="Likelihood against the time that a sample takes; the lower left corner is best.",
            alt="Bits per dimension against seconds a sample for each model",
        )


def best_of(card: Scorecard) -> Iterator[str]:
    """The first of each group, in a sentence."""
    for group in card.groups:
        ranked = [row for row in group.rows if row.bits_per_dim is not None]
        if ranked:
            best, sign = ranked[0], SIGNS[group.kind].replace("=", "")
            what = f"{group.title[:1].lower()}{group.title[1:]}"
            yield f"Best on {card.dataset}, by {what}: {best.model}, {sign} {best.bits_per_dim:.3f} bits/dim."


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return " to ".join(f"{end:.3g}" for end in value)
    return None if value != value else value  # NaN where there is nothing to say
