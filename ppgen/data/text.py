"""Text as discrete data: windows of characters over a fixed alphabet, and real English to learn from."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np

from ppgen.checks import check_integer
from ppgen.errors import DataError

__all__ = ["ALPHABET", "WINDOW", "decode", "encode", "english"]

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""The line break and the printable characters of ASCII: 96 levels, in this order."""

WINDOW = 64  # characters in a row

_LEVELS = {character: level for level, character in enumerate(ALPHABET)}
_ASCII = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "\t": " ", "\r": ""})


def encode(text: str, window: int = WINDOW) -> np.ndarray:
    """Cut a text into windows of characters, encoded as levels.

    Typographic quotes, dashes and accents become their plain counterparts, and other characters outside the
    alphabet become question marks. An incomplete last window is dropped.

    Args:
        text: the text.
        window: how many characters a row holds.

    Returns:
        ``(n, window)`` integers below ``len(ALPHABET)``.

    Raises:
        InvalidArgument: if the window is not a positive integer.
        DataError: if the text does not fill one window.

    Example:
        >>> rows = encode("Hello, world", window=6)
        >>> rows.shape, decode(rows)
        ((2, 6), ['Hello,', ' world'])
        >>> decode(encode("“naïve” 日本", window=10))
        ['"naive" ??']
    """
    check_integer("window", window, example=WINDOW)
    plain = _plain(text)
    n = len(plain) // window
    if n == 0:
        raise DataError(
            "text",
            got=f"{len(plain)} characters",
            expected=f"at least {window}, for one window",
            fix=f"Pass a longer text, or window={max(1, len(plain))}.",
        )
    levels = [_LEVELS[character] for character in plain[: n * window]]
    return np.array(levels, dtype=np.int64).reshape(n, window)


def decode(rows: Any) -> list[str]:
    """Turn rows ``(n, window)``, such as a model's samples, back into strings.

    Raises:
        DataError: if they are not rows of the alphabet's levels.

    Example:
        >>> decode(np.array([[41, 74, 1], [0, 1, 2]]))
        ['Hi ', '\\n !']
    """
    levels = np.asarray(rows)
    if levels.ndim != 2 or levels.dtype.kind not in "iu" or levels.size == 0:
        raise DataError(
            "rows",
            got=f"an array of shape {levels.shape} and dtype {levels.dtype}",
            expected="(n, window) integers",
            fix="Write rows[None] for a single row.",
        )
    if levels.min() < 0 or levels.max() >= len(ALPHABET):
        raise DataError(
            "rows",
            got=f"values from {levels.min()} to {levels.max()}",
            expected=f"levels 0 … {len(ALPHABET) - 1} of the alphabet",
            fix="Pass rows from encode, or samples of a model trained on them.",
        )
    return ["".join(ALPHABET[level] for level in row) for row in levels]


def english() -> str:
    """Real English prose with code: the topics of Python's own help, each paragraph once.

    About 370,000 characters; the exact text depends on the version of Python. Repeated paragraphs are left
    out, so that held-out text does not occur in training text.

    Example:
        >>> english()[:22]
        'The "assert" statement'
    """
    from pydoc_data.topics import topics

    paragraphs = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)).split("\n\n")
    return _plain("\n\n".join(dict.fromkeys(paragraphs)))


def _plain(text: str) -> str:
    # NFKD separates accents from letters, and spells out ligatures and ellipses.
    letters = unicodedata.normalize("NFKD", text.translate(_ASCII))
    kept = (c for c in letters if not unicodedata.combining(c))
    return "".join(c if c in _LEVELS else "?" for c in kept)
