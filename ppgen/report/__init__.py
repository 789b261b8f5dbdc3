"""One self-contained HTML page with text, pictures, tables and verdicts."""

from ppgen.report.page import Page, Section

__all__ = ["Page", "Section"]
