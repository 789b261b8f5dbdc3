"""What a section is made of: small pieces, each of which knows its HTML."""

from __future__ import annotations

import re

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ppgen.errors import InvalidArgument, UnknownName
from ppgen.findings import Severity
from ppgen.style.figures import data_url

__all__ = ["code", "list_of", "note", "paragraphs", "picture"]

_TEXT_WIDTH = 736  # CSS pixels, the 46rem of the text's measure; wider figures may leave it

# Words and signs, not colour alone, so that the verdict survives print and colour blindness.
_WORDS = {"ok": "✓ OK", "warning": "! Warning", "problem": "✗ Problem"}


def paragraphs(text: str) -> Markup:
    """Paragraphs parted by blank lines; `words` between backticks are set as code.

    Example:
        >>> print(paragraphs("Draws of `mu`.\\n\\na < b"))
        <p>Draws of <code>mu</code>.</p>
        <p>a &lt; b</p>
    """
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", text.strip())]
    return Markup("\n").join(Markup("<p>{}</p>").format(_inline(block)) for block in blocks if block)


def list_of(items: tuple[str, ...]) -> Markup:
    """A bulleted list, one sentence an item."""
    lines = Markup("\n").join(Markup("<li>{}</li>").format(_inline(item)) for item in items)
    return Markup("<ul>\n{}\n</ul>").format(lines)


def code(text: str) -> Markup:
    """A block of code or of console output, as it is."""
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format(text.strip("\n"))


def note(verdict: Severity, sentence: str) -> Markup:
    """A verdict with its reason.

    Example:
        >>> print(note("ok", "All chains agree."))
        <p class="note ok"><strong>✓ OK</strong> All chains agree.</p>
    """
    if verdict not in _WORDS:
        raise UnknownName("verdict", verdict, _WORDS)
    body = Markup('<p class="note {}"><strong>{}</strong> {}</p>')
    return body.format(verdict, _WORDS[verdict], _inline(sentence))


def picture(figure: Figure, caption: str, alt: str) -> Markup:
    """A figure as a PNG inside the page, at twice the pixels so that it is sharp on fine screens."""
    if not alt.strip():
        raise InvalidArgument(
            "alt",
            got="an empty text",
            expected="what the picture shows, for those who cannot see it",
            fix='Write alt="Density and path of each chain of mu and tau".',
        )
    width = round(float(figure.get_size_inches()[0]) * 100)
    height = round(float(figure.get_size_inches()[1]) * 100)
    image = Markup('<img src="{}" alt="{}" width="{}" height="{}">')
    caption_html = Markup("\n<figcaption>{}</figcaption>").format(_inline(caption)) if caption else ""
    wide = Markup(' class="wide"') if width > _TEXT_WIDTH else ""
    body = Markup("<figure{}>\n{}{}\n</figure>")
    return body.format(wide, image.format(data_url(figure), alt, width, height), caption_html)


def _inline(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
