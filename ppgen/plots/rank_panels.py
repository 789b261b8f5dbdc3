"""What the pictures of a calibration have in common: a panel for each quantity, those that fail first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ppgen.checks import check_choice
from ppgen.errors import DataError
from ppgen.style.figures import ACCENTS, footnote, new_panels, title
from ppgen.workflow.calibration.result import Calibration, QuantityTest

__all__ = ["draw_panels"]

_MOST = 12
_COLUMNS = 3

Draw = Callable[[Axes, np.ndarray, str], None]
"""Draws the ranks ``(simulation,)`` of one quantity into a panel, in a colour."""


def draw_panels(
    calibration: Calibration, names: Sequence[str] | None, draw: Draw, *, scale: str, band: str
) -> Figure:
    """A panel for each quantity, over ranks as shares; those that are not uniform are marked.

    Args:
        calibration: the ranks and their tests.
        names: which quantities; ``None`` for those that fail, then others, twelve at most.
        draw: what a panel shows.
        scale: what its vertical axis says.
        band: what the band in it means.

    Raises:
        UnknownName: if a name is none of the quantities.
        DataError: if no simulation has ranks.
    """
    shown, ranks, caption = _choose(calibration, names)
    figure, panels = new_panels(len(shown), _COLUMNS, size=(1.75, 1.75), margins=(2.0, 0.6), share_y=True)
    for panel, test in zip(panels, shown, strict=True):
        wrong = test.adjusted <= calibration.alpha
        draw(panel, ranks[:, calibration.names.index(test.name)], ACCENTS[1] if wrong else ACCENTS[0])
        panel.set_xlim(0, 1)
        panel.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        title(panel, f"{test.name}{'  ✗' if wrong else ''}")
    for panel in panels[::_COLUMNS]:
        panel.set_ylabel(scale)
    footnote(figure, f"rank of the truth, as a share; band: {band}{caption}")
    return figure


def _choose(
    calibration: Calibration, names: Sequence[str] | None
) -> tuple[list[QuantityTest], np.ndarray, str]:
    """The tests of the quantities to show, all ranks ``(simulation, quantity)``, and what is not shown."""
    ranks = calibration.ranks[(calibration.ranks >= 0).all(1)]
    if not len(ranks):
        raise DataError(
            "calibration",
            got="no simulation with ranks: all fits ended in an error",
            expected="at least one fit with draws",
            fix="Look at calibration.problems.",
        )
    tests = {test.name: test for test in calibration.tests}
    if names is not None:
        return [tests[check_choice("names", name, tests)] for name in names], ranks, ""
    failing = [test for test in calibration.tests if test.adjusted <= calibration.alpha]
    passing = [test for test in calibration.tests if test.adjusted > calibration.alpha]
    # The log likelihood is last, and would fall off where there are many.
    kept = [*failing, *passing[-1:], *passing[:-1]][:_MOST]
    note = "" if len(kept) == len(tests) else f" ({len(kept)} of {len(tests)} quantities)"
    return sorted(kept, key=lambda test: calibration.names.index(test.name)), ranks, note
