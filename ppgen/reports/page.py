"""A report: sections of text, pictures, tables and verdicts in one HTML file that needs no other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from markupsafe import Markup
from matplotlib.figure import Figure

from ppgen import storage
from ppgen.errors import InvalidArgument
from ppgen.findings import Severity
from ppgen.reports import blocks
from ppgen.style.html import stylesheet, table, templates

__all__ = ["HasHtml", "Page", "Section"]


@runtime_checkable
class HasHtml(Protocol):
    """Anything that gives its own trusted HTML fragment, such as a scorecard."""

    def __html__(self) -> str:
        """The fragment."""


class Section:
    """One part of a page, filled from top to bottom; every method returns the section.

    Example:
        >>> section = Page("Eight schools").section("The fit")
        >>> section.text("Four chains.").note("ok", "They agree.").title
        'The fit'
    """

    def __init__(self, title: str, anchor: str) -> None:
        self.title = title
        self.anchor = anchor
        self._blocks: list[Markup] = []

    def __iter__(self) -> Iterator[Markup]:
        return iter(self._blocks)

    def heading(self, text: str) -> Section:
        """Add a heading below the section's own."""
        return self._add(Markup("<h3>{}</h3>").format(text))

    def text(self, text: str) -> Section:
        """Add paragraphs, parted by blank lines; words between backticks are set as code."""
        return self._add(blocks.paragraphs(text))

    def bullets(self, *items: str) -> Section:
        """Add a bulleted list."""
        return self._add(blocks.list_of(items))

    def code(self, text: str) -> Section:
        """Add a block of code or of console output."""
        return self._add(blocks.code(text))

    def note(self, verdict: Severity, sentence: str) -> Section:
        """Add a verdict, ``"ok"``, ``"warning"`` or ``"problem"``, and the sentence that gives the reason.

        Raises:
            UnknownName: if the verdict is none of these.
        """
        return self._add(blocks.note(verdict, sentence))

    def figure(self, figure: Figure, *, caption: str, alt: str) -> Section:
        """Add a picture; one wider than the text may leave its measure.

        Args:
            figure: a matplotlib figure, for example of :mod:`ppgen.plots`.
            caption: how to read it, in a sentence or two.
            alt: what it shows, for those who cannot see it.

        Raises:
            InvalidArgument: if ``alt`` is empty.
        """
        return self._add(blocks.picture(figure, caption, alt))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = ""
    ) -> Section:
        """Add a table; numbers stand to the right with a common number of decimals.

        Raises:
            InvalidArgument: if a row does not have one cell a column.
        """
        return self._add(table(columns, rows, caption=caption))

    def embed(self, fragment: HasHtml) -> Section:
        """Add an object that brings its own HTML, such as a :class:`~ppgen.evaluation.Scorecard`."""
        return self._add(Markup(fragment.__html__()))

    def _add(self, block: Markup) -> Section:
        self._blocks.append(block)
        return self


class Page:
    """A self-contained page: a title, a table of contents, sections, and how it was made.

    Whatever text comes in is escaped; nothing is loaded from elsewhere and nothing runs.

    Args:
        title: what the report is about.
        subtitle: the finding or the question in a sentence.
        made_with: what the footer says for whoever reproduces the page, such as versions, seeds and the
            machine.

    Example:
        >>> page = Page("Digits", "Three families on one table", made_with={"seed": 0})
        >>> _ = page.section("Models").text("Lower is better.")
        >>> html = page.to_html()
        >>> "<h1>Digits</h1>" in html, 'id="models"' in html, "<script" in html
        (True, True, False)
    """

    def __init__(self, title: str, subtitle: str = "", made_with: Mapping[str, object] | None = None) -> None:
        if not title.strip():
            raise InvalidArgument(
                "title", got="an empty title", expected="a title", fix='Write Page("Eight schools").'
            )
        self.title = title
        self.subtitle = subtitle
        self.made_with = dict(made_with or {})
        self._sections: list[Section] = []

    def section(self, title: str) -> Section:
        """Begin a section, listed in the table of contents."""
        section = Section(title, self._anchor(title))
        self._sections.append(section)
        return section

    def __iter__(self) -> Iterator[Section]:
        return iter(self._sections)

    def __repr__(self) -> str:
        return f"Page({self.title!r}: {', '.join(section.title for section in self)})"

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its rules of style do not reach the notebook."""
        frame = Markup('<iframe srcdoc="{}" style="width:100%;height:42rem;border:0" title="{}"></iframe>')
        return frame.format(self.to_html(), self.title)

    def to_html(self) -> str:
        """The page as one string."""
        template = templates(Path(__file__).parent).get_template("template.html")
        return template.render(title=self.title, page=self, sections=self._sections, stylesheet=stylesheet())

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file.

        Raises:
            StorageError: if the path cannot be written; this is checked before the page is put together.
        """
        storage.check_writable(path)
        return storage.write_text(path, self.to_html())

    def _anchor(self, title: str) -> str:
        anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        count = sum(re.sub(r"-\d+$", "", section.anchor) == anchor for section in self._sections)
        return f"{anchor}-{count + 1}" if count else anchor
