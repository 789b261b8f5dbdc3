"""How pictures and tables look: one palette, one way to draw a figure, one way to set a table."""

from ppgen.style.figures import ACCENTS, FAINT, INK, MUTED, data_url, legend, legend_above, new_figure, title
from ppgen.style.html import document, grouped_table, stylesheet, table, templates
from ppgen.style.numbers import format_column

__all__ = [
    "ACCENTS",
    "FAINT",
    "INK",
    "MUTED",
    "data_url",
    "document",
    "format_column",
    "grouped_table",
    "legend",
    "legend_above",
    "new_figure",
    "stylesheet",
    "table",
    "templates",
    "title",
]
