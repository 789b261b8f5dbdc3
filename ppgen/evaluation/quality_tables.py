"""The figures of sample quality as text and as HTML, one model a line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.tables import aligned, bullets
from ppgen.style.html import grouped_table

__all__ = ["quality_as_html", "quality_as_text"]

Figures = Sequence[tuple[str, Sequence[Measurement]]]
"""The figures of each model by its name."""

# What stands over a column, and what its figures are multiplied by.
_HEADERS = {
    "Fréchet distance, infinite samples": ("Fréchet (∞)", 1),
    "FID, infinite samples": ("FID (∞)", 1),
    "kernel distance": ("kernel ×1000", 1000),
    "classifier accuracy": ("told apart", 1),
    "authenticity": ("authentic", 1),
    "data-copying z": ("copying z", 1),
}


def quality_as_html(named: Figures, sentences: Sequence[str], notes: Sequence[tuple[str, str]]) -> Markup:
    """The table, what its figures say, and why a model is not in it; empty where nothing was measured."""
    if not named:
        return Markup("")
    headers, rows = _table(named)
    listed = [Markup("<strong>{}</strong>: {}").format(name, note) for name, note in notes]
    return Markup("\n").join(
        [grouped_table(headers, [("Quality of samples", rows)]), bullets(sentences), bullets(listed)]
    )


def quality_as_text(named: Figures, sentences: Sequence[str]) -> str:
    """The table and the sentences, for a terminal; empty where nothing was measured."""
    if not named:
        return ""
    headers, rows = _table(named)
    columns = [[header, *cells] for header, cells in zip(headers, zip(*rows, strict=True), strict=True)]
    lines = [f"  {line}" for line in aligned(columns)]
    return "\n".join(["Quality of samples", *lines, "", *(f"- {sentence}" for sentence in sentences)])


def _table(named: Figures) -> tuple[list[str], list[list[str]]]:
    names = list(dict.fromkeys(figure.name for _, figures in named for figure in figures))
    headers = ["model", *(_HEADERS.get(name, (name, 1))[0] for name in names)]
    rows = []
    for model, figures in named:
        by_name = {figure.name: figure for figure in figures}
        rows.append([model, *(_cell(by_name.get(name)) for name in names)])
    return headers, rows


def _cell(figure: Measurement | None) -> str:
    if figure is None:
        return "–"
    factor = _HEADERS.get(figure.name, ("", 1))[1]
    low, high = figure.interval
    half = factor * max(figure.value - low, high - figure.value)  # one end may be cut off at 0 or 1
    # Two digits of the uncertainty, and as many decimals of the figure.
    decimals = min(4, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 2
    return f"{factor * figure.value:,.{decimals}f} ± {half:,.{decimals}f}".replace("-", "−")
