"""Numbers in a table: one column, one number of decimals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["as_sure_as", "format_column", "is_number", "two_digits"]


def format_column(cells: Sequence[object]) -> list[str]:
    """Write the cells of one column as text, all floats with the same number of decimals.

    The decimals give the column's largest number three significant digits, and at least one; a
    right-aligned column is then aligned at the decimal point. ``None`` and NaN become an en dash;
    integers get thousands separators; anything else is ``str``.

    Example:
        >>> format_column([1.2345, 12.3, None, float("nan")])
        ['1.2', '12.3', '–', '–']
        >>> format_column([79_000, 12, "all"])
        ['79,000', '12', 'all']
    """
    floats = [cell for cell in cells if isinstance(cell, (float, np.floating)) and math.isfinite(cell)]
    decimals = _decimals([abs(float(number)) for number in floats])
    return [_format(cell, decimals) for cell in cells]


def as_sure_as(value: float, error: float | None) -> str:
    """A number to the second significant digit of its error, with at least two decimals.

    Example:
        >>> as_sure_as(-96.78721, 0.5408), as_sure_as(-1.02498, 0.0112), as_sure_as(-1234.5, None)
        ('−96.79', '−1.025', '−1,234.50')
    """
    decimals = max(2, 1 - math.floor(math.log10(error))) if error else 2
    return f"{value:,.{min(6, decimals)}f}".replace("-", "−")


def two_digits(value: float | None) -> str | None:
    """A positive number to two significant digits, without an exponent; ``None`` stays what it is.

    Example:
        >>> [two_digits(seconds) for seconds in (0.000523, 0.1817, 4.36, 241.7, None)]
        ['0.00052', '0.18', '4.4', '242', None]
    """
    if value is None or value <= 0:
        return None
    return f"{value:,.{max(0, 1 - math.floor(math.log10(value)))}f}"


def is_number(cell: object) -> bool:
    """Whether a cell belongs on the right: a number, or text that is one after its sign.

    Example:
        >>> [is_number(cell) for cell in (1, 2.5, "≤ 2.31", "–1,200", "1.2 s", "VAE", None)]
        [True, True, True, True, True, False, True]
    """
    if cell is None or isinstance(cell, (int, float, np.integer, np.floating)):
        return not isinstance(cell, bool)
    first = str(cell).lstrip("≤≥≈=<>±+-−[(– ")
    return first[:1].isdigit() or first[:1] == "∞" or first == ""


def _decimals(magnitudes: list[float]) -> int:
    positive = [m for m in magnitudes if m > 0]
    if not positive:
        return 1
    return min(4, max(1, 2 - math.floor(math.log10(max(positive)))))


def _format(cell: object, decimals: int) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, (float, np.floating)):
        if math.isnan(cell):
            return "–"
        return f"{cell:,.{decimals}f}".replace("-", "−").replace("inf", "∞")
    if isinstance(cell, (int, np.integer)) and not isinstance(cell, bool):
        return f"{cell:,}".replace("-", "−")
    return str(cell)
