"""The tables of a scorecard: likelihoods in groups of like kinds, and the quality of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppgen.evaluation.quality.measurement import Measurement
from ppgen.evaluation.row import SIGNS, Group, Row
from ppgen.style.html import grouped_table
from ppgen.style.numbers import as_sure_as, format_column, is_number, two_digits

__all__ = ["Table", "bullets", "likelihood_table", "quality_table"]

# Column headers of sample quality that differ from the measurement's name, with the factor applied to values.
_SHORT = {
    "Fréchet distance, infinite samples": ("Fréchet (∞)", 1),
    "FID, infinite samples": ("FID (∞)", 1),
    "kernel distance": ("kernel ×1000", 1000),
    "classifier accuracy": ("told apart", 1),
    "authenticity": ("authentic", 1),
    "data-copying z": ("copying z", 1),
}


@dataclass(frozen=True)
class Table:
    """Rows of cells in titled groups, for a page or a terminal."""

    headers: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[object]]]]

    def __html__(self) -> Markup:
        return grouped_table(self.headers, self.groups)

    def __str__(self) -> str:
        columns = zip(
            self.headers, zip(*(row for _, rows in self.groups for row in rows), strict=True), strict=True
        )
        padded = [_padded([header, *format_column(cells)]) for header, cells in columns]
        header, *lines = (f"  {'  '.join(line)}".rstrip() for line in zip(*padded, strict=True))
        remaining = iter(lines)
        blocks = [[f"\n{title}", *(next(remaining) for _ in rows)] for title, rows in self.groups]
        return "\n".join([header, *(line for block in blocks for line in block)])


def likelihood_table(groups: Sequence[Group]) -> Table:
    """One row per model, grouped by kind of likelihood."""
    headers = ("model", "bits/dim ± 95 %", "log p, nats", "parameters", "training, s", "one sample, ms")
    return Table(headers, [(group.title, [_cells(row) for row in group.rows]) for group in groups])


def quality_table(named: Sequence[tuple[str, Sequence[Measurement]]]) -> Table:
    """The sample-quality measurements of each model, one per column."""
    names = list(dict.fromkeys(figure.name for _, figures in named for figure in figures))
    rows = []
    for model, figures in named:
        by_name = {figure.name: figure for figure in figures}
        rows.append([model, *(_figure(by_name.get(name)) for name in names)])
    headers = ["model", *(_SHORT.get(name, (name, 1))[0] for name in names)]
    return Table(headers, [("Quality of samples", rows)])


def bullets(sentences: Sequence[str]) -> Markup:
    """An HTML list of sentences; those that are not markup already are escaped."""
    items = Markup("\n").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    return Markup('<ul class="reading">\n{}\n</ul>').format(items)


def _cells(row: Row) -> tuple[object, ...]:
    return (
        f"{row.model} (baseline)" if row.baseline else row.model,
        _bits(row),
        None if row.nats is None else as_sure_as(row.nats, row.nats_stderr),
        row.parameters,
        two_digits(row.train_seconds),
        two_digits(None if row.sample_seconds is None else 1000 * row.sample_seconds),
    )


def _bits(row: Row) -> str | None:
    if row.bits_per_dim is None:
        return None
    shown = f"{SIGNS[row.kind]} {row.bits_per_dim:.3f}".removeprefix("= ")
    return shown if row.interval is None else f"{shown} ± {row.interval[1] - row.bits_per_dim:.3f}"


def _figure(figure: Measurement | None) -> str | None:
    if figure is None:
        return None
    factor = _SHORT.get(figure.name, ("", 1))[1]
    low, high = figure.interval
    half = factor * max(figure.value - low, high - figure.value)  # one end may be cut off at 0 or 1
    # Two digits of the uncertainty, and as many decimals of the value.
    decimals = min(4, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 2
    return f"{factor * figure.value:,.{decimals}f} ± {half:,.{decimals}f}".replace("-", "−")


def _padded(cells: Sequence[str]) -> list[str]:
    """The cells of a column, padded to one width; numbers are right-aligned."""
    width = max(map(len, cells))
    right = all(is_number(cell) for cell in cells[1:])
    return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]
