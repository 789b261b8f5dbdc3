"""Tables and pages as HTML: escaped, without scripts, with nothing to load from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from ppgen.errors import InvalidArgument
from ppgen.style.numbers import format_column, is_number

__all__ = ["document", "grouped_table", "stylesheet", "table", "templates"]


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> Markup:
    """Set a table: numbers to the right with a common number of decimals, words to the left.

    Args:
        columns: the column headers.
        rows: one sequence of cells a row; numbers are formatted by
            :func:`~ppgen.style.numbers.format_column`, text is taken as it is and escaped.
        caption: a sentence above the table.

    Raises:
        InvalidArgument: if a row does not have one cell a column.

    Example:
        >>> html = table(["model", "bits"], [["a<b", 2.5], ["c", 10.25]])
        >>> "a&lt;b" in html, '<td class="number">10.2</td>' in html
        (True, True)
    """
    return grouped_table(columns, [("", rows)], caption=caption)


def grouped_table(
    columns: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[object]]]], *, caption: str = ""
) -> Markup:
    """Set a table whose rows stand in groups, each under a heading of its own.

    Args:
        columns: the column headers.
        groups: pairs of a heading (may be empty) and its rows, as in :func:`table`.
        caption: a sentence above the table.

    Raises:
        InvalidArgument: if a row does not have one cell a column.
    """
    rows = [row for _, members in groups for row in members]
    for i, row in enumerate(rows):
        if len(row) != len(columns):
            raise InvalidArgument(
                "rows",
                got=f"{len(row)} cells in row {i}",
                expected=f"{len(columns)}, one a column",
                fix="Give every row as many cells as there are columns; None leaves one empty.",
            )
    by_column = [[row[j] for row in rows] for j in range(len(columns))]
    cells = zip(*(format_column(column) for column in by_column), strict=True)
    bodies = [(heading, [next(cells) for _ in members]) for heading, members in groups]
    classes = [_class(column) for column in by_column]
    template = templates().get_template("table.html")
    return Markup(template.render(columns=columns, groups=bodies, classes=classes, caption=caption))


def document(title: str, body: Markup) -> str:
    """Put a body into a page of its own, with the stylesheet inside.

    Example:
        >>> page = document("Scores & more", Markup("<p>body</p>"))
        >>> page[:15], "<title>Scores &amp; more</title>" in page
        ('<!doctype html>', True)
    """
    template = templates().get_template("document.html")
    return template.render(title=title, body=body, stylesheet=stylesheet())


def stylesheet() -> Markup:
    """The style rules of every page: light and dark, wide and narrow, screen and print."""
    return Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))


@functools.cache
def templates(*folders: Path) -> Environment:
    """The templates in these folders and in this one; what they insert is escaped, unless it is Markup."""
    loader = FileSystemLoader([*folders, Path(__file__).parent])
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _class(column: list[object]) -> str:
    if all(is_number(cell) for cell in column):
        return "number"
    # Sentences may wrap; names and units may not.
    return "words" if any(len(str(cell)) > 40 for cell in column) else "text"
