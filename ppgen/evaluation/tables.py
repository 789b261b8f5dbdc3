"""A scorecard as text and as HTML: like beside like, and what may be concluded across kinds."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from ppgen.evaluation.row import SIGNS, Group, Row, how_to_compare
from ppgen.style.html import grouped_table
from ppgen.style.numbers import as_sure_as, format_column, is_number, two_digits

__all__ = ["aligned", "as_html", "as_text", "bullets"]

_HEADERS = ("model", "bits/dim ± 95 %", "log p, nats", "parameters", "training, s", "one sample, ms")


def as_html(groups: Sequence[Group]) -> Markup:
    """The table, the method of each number, and the sentences on how to compare them."""
    scores = grouped_table(_HEADERS, [(group.title, _lines(group)) for group in groups])
    methods = [
        Markup("<strong>{}</strong>: {}.").format(row.model, row.how.rstrip("."))
        for group in groups
        for row in group.rows
        if row.how
    ]
    return Markup("\n").join([scores, bullets(how_to_compare(groups)), bullets(methods)])


def as_text(groups: Sequence[Group]) -> str:
    """The table and the sentences, for a terminal."""
    lines = [line for group in groups for line in _lines(group)]
    columns = [
        [header, *format_column(column)]
        for header, column in zip(_HEADERS, zip(*lines, strict=True), strict=True)
    ]
    header, *body = (f"  {line}" for line in aligned(columns))
    remaining = iter(body)
    blocks = [[f"\n{group.title}", *(next(remaining) for _ in group.rows)] for group in groups]
    sentences = ["", *(f"- {sentence}" for sentence in how_to_compare(groups))]
    return "\n".join([header, *(line for block in blocks for line in block), *sentences])


def _lines(group: Group) -> list[tuple[object, ...]]:
    return [_cells(row) for row in group.rows]


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


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, each as wide as its widest cell; a column of numbers to the right."""
    padded = []
    for header, *cells in columns:
        width = max(map(len, [header, *cells]))
        right = all(is_number(cell) for cell in cells)
        padded.append([cell.rjust(width) if right else cell.ljust(width) for cell in [header, *cells]])
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def bullets(sentences: Sequence[str]) -> Markup:
    """A list of sentences; those that are not markup already are escaped."""
    items = Markup("\n").join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    return Markup('<ul class="reading">\n{}\n</ul>').format(items)
