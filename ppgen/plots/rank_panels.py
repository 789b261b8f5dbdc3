"""What the pictures of a calibration have in common: which quantities are shown, and a grid for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ppgen.errors import DataError, UnknownName
from ppgen.style.figures import new_figure
from ppgen.workflow.calibration.result import Calibration, QuantityTest

__all__ = ["chosen", "grid_of", "hide_unused"]

_MOST = 12
_COLUMNS = 3


def chosen(
    calibration: Calibration, names: Sequence[str] | None
) -> tuple[list[QuantityTest], np.ndarray, str]:
    """The tests of the quantities to show, all ranks ``(simulation, quantity)``, and a note of what is not.

    Raises:
        UnknownName: if a name is none of the quantities.
        DataError: if no simulation has ranks.
    """
    ranks = calibration.ranks[(calibration.ranks >= 0).all(1)]
    if not len(ranks):
        raise DataError(
            "calibration",
            got="no simulation with ranks: all fits ended in an error",
            expected="at least one fit with draws",
            fix="Look at calibration.problems.",
        )
    tests = {test.name: test for test in calibration.tests}
    for name in names or ():
        if name not in tests:
            raise UnknownName("names", name, tests)
    if names is not None:
        return [tests[name] for name in names], ranks, ""
    failing = [test for test in calibration.tests if test.adjusted <= calibration.alpha]
    passing = [test for test in calibration.tests if test.adjusted > calibration.alpha]
    # The log likelihood is last, and would fall off where there are many.
    kept = [*failing, *passing[-1:], *passing[:-1]][:_MOST]
    note = "" if len(kept) == len(tests) else f" ({len(kept)} of {len(tests)} quantities)"
    return sorted(kept, key=lambda test: calibration.names.index(test.name)), ranks, note


def grid_of(count: int, *, share_y: bool) -> tuple[Figure, np.ndarray]:
    """A figure with ``count`` panels or a few more, three a row."""
    columns = min(count, _COLUMNS)
    rows = math.ceil(count / columns)
    return new_figure(
        rows, columns, width=min(7.2, 2.0 + 2.2 * columns), height=0.6 + 1.75 * rows, share_y=share_y
    )


def hide_unused(panels: np.ndarray, count: int) -> None:
    """Hide the panels after the first ``count``."""
    for panel in panels.flat[count:]:
        panel.set_visible(False)
