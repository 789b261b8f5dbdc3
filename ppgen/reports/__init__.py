"""One self-contained HTML page with text, pictures, tables and verdicts."""

from ppgen.reports.page import Page, Section

__all__ = ["Page", "Section"]
