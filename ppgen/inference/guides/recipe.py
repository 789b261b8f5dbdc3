"""Fitting a guide: the recipe, apart from what is fitted and in which language.

The step size is found by a short race; iterates are averaged, and judged by the bound on common draws;
when the bound no longer rises the step size is lowered, and at last the fit has converged. There are
several restarts; the one with the best bound is kept, and those that disagree with it are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ppgen.errors import InferenceError
from ppgen.findings import Finding
from ppgen.inference.guides.adam import CHUNK, Climb
from ppgen.inference.guides.objectives import Bound
from ppgen.kernels.monte_carlo import standard_error

__all__ = ["GuideFit", "History", "Recipe", "fit_guide"]

STEP_SIZES = (0.1, 0.03, 0.01, 0.003, 0.001)

_DECAY = 0.3  # of the step size, when the bound no longer rises
_DECAYS = 2
_PATIENCE = 3  # checks without improvement until then
_MOST_SKIPPED = 0.1  # share of steps without a finite gradient
_SLACK = 1.0  # nats between restarts that still agree


class Recipe(NamedTuple):
    """How a guide is fitted.

    Attributes:
        bound: what is raised.
        step_size: of Adam; ``None`` for a race.
        max_steps: the most steps of a fit.
        tolerance: a smaller gain of the bound between two looks, in nats, is none.
    """

    bound: Bound
    step_size: float | None
    max_steps: int
    tolerance: float


class History(NamedTuple):
    """The history of a fit, one entry per check: NumPy arrays.

    Attributes:
        step: how many steps had been made.
        step_size: the step size then.
        bound: the bound of the averaged parameters, in nats.
    """

    step: np.ndarray
    step_size: np.ndarray
    bound: np.ndarray


class _End(NamedTuple):
    """The end of one climb.

    Attributes:
        parameters: the averaged ones, flat.
        values: the bound of each group of the common draws, in nats.
        history: the course.
        converged: whether the bound had stopped rising before ``max_steps``.
        skipped: the share of steps without a finite gradient.
    """

    parameters: np.ndarray
    values: np.ndarray
    history: History
    converged: bool
    skipped: float

    @property
    def bound(self) -> float:
        return float(self.values.mean())

    @property
    def stderr(self) -> float:
        return float(standard_error(self.values))


@dataclass(frozen=True, eq=False)
class GuideFit:
    """A fitted guide, and how it was fitted.

    Attributes:
        guide: its name.
        objective: the bound that was raised.
        parameters: ``(p,)``, flat.
        history: the course of the best restart.
        step_size: that the restarts began with.
        restarts: the bound that each reached, in nats.
        best: which of them was kept.
        converged: whether its bound had stopped rising.
        findings: what went wrong.
    """

    guide: str
    objective: Bound
    parameters: np.ndarray
    history: History
    step_size: float
    restarts: tuple[float, ...]
    best: int
    converged: bool
    findings: tuple[Finding, ...]

    @property
    def bound(self) -> float:
        """The bound that was reached, in nats: a lower bound of the log evidence, up to noise."""
        return self.restarts[self.best]


def fit_guide(guide: str, climbs: Sequence[Climb], recipe: Recipe, *, at_once: int = 1) -> GuideFit:
    """Fit a guide from several starts, and keep the best.

    Args:
        guide: its name.
        climbs: one from each start, the most promising first.
        recipe: how.
        at_once: how many climbs may run at once, in threads.

    Raises:
        InferenceError: if no step size gives a finite bound.
    """
    call = partial(_side_by_side, at_once)
    step_size, state = _race(climbs[0], recipe, call)
    states = [state] + [None] * (len(climbs) - 1)

    def one(climb: Climb, state: Any) -> _End:
        return _climb(climb, state, step_size, recipe)

    ends = call(one, list(zip(climbs, states, strict=True)))
    bounds = [end.bound if np.isfinite(end.bound) else -np.inf for end in ends]
    if not np.isfinite(bounds).any():
        raise _no_bound((step_size,))
    best = int(np.argmax(bounds))
    return GuideFit(
        guide=guide,
        objective=recipe.bound,
        parameters=ends[best].parameters,
        history=ends[best].history,
        step_size=step_size,
        restarts=tuple(end.bound for end in ends),
        best=best,
        converged=ends[best].converged,
        findings=tuple(_describe(ends[best], ends, recipe)),
    )


def _describe(end: _End, ends: Sequence[_End], recipe: Recipe) -> Iterator[Finding]:
    """What speaks against the best of the ends."""
    if not end.converged:
        yield Finding(
            "convergence of the fit",
            "problem",
            f"The fit of the guide had not converged after max_steps={recipe.max_steps}: its bound was still "
            "rising.",
            f"Give it more (max_steps={4 * recipe.max_steps}), or a simpler guide.",
            {"max_steps": recipe.max_steps},
        )
    if end.skipped > _MOST_SKIPPED:
        yield Finding(
            "steps of the fit",
            "problem",
            f"{end.skipped:.0%} of the fit's steps had no finite gradient and were skipped: the log density "
            "overflows where the guide draws.",
            "Rescale the parameters to the order of 1, or check the program.",
            {"skipped": end.skipped, "threshold": _MOST_SKIPPED},
        )
    gaps = [other.bound for other in ends if end.bound - other.bound > _SLACK + 3 * _difference(end, other)]
    if gaps:
        reached = ", ".join(f"{bound:.1f}" for bound in (end.bound, *gaps))
        yield Finding(
            "agreement of the restarts",
            "problem",
            f"Restarts of the fit ended at different bounds ({reached} nats; the best was kept): there may "
            "be several modes, or the guide is hard to fit.",
            "Try restarts=8, and compare the draws with those of method='smc'.",
            {"nats": end.bound - min(gaps)},
        )


def _side_by_side(
    at_once: int, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Call a function once for each tuple of arguments, some of them in threads."""
    if len(arguments) < 2 or at_once == 1:
        return [function(*each) for each in arguments]
    with ThreadPoolExecutor(min(at_once, len(arguments))) as pool:
        return list(pool.map(lambda each: function(*each), arguments))


def _race(climb: Climb, recipe: Recipe, call: Callable[..., list[Any]]) -> tuple[float, Any]:
    """The step size whose averaged parameters are best, and the state they are in.

    All sizes run for one chunk, the better two for another.
    """
    sizes = STEP_SIZES if recipe.step_size is None else (recipe.step_size,)

    def lane(size: float, state: Any, first: int) -> tuple[float, float, Any]:
        state, average, _ = climb.advance(climb.begin() if state is None else state, size, first)
        value = float(recipe.bound.values(climb.log_weights(average)).mean())
        return (value if np.isfinite(value) and np.isfinite(average).all() else -np.inf), size, state

    lanes = [lane(sizes[0], None, 0)]  # alone: two threads would each compile the same loop
    lanes += call(lane, [(size, None, 0) for size in sizes[1:]])
    ahead = sorted(lanes, key=lambda lane: -lane[0])[:2]
    ahead = call(lane, [(size, state, CHUNK) for value, size, state in ahead if np.isfinite(value)])
    value, size, state = max(ahead, key=lambda lane: lane[0], default=(-np.inf, 0.0, None))
    if not np.isfinite(value):
        raise _no_bound(sizes)
    return size, state


class _Progress:
    """The averages of one step size, and when it has done what it can."""

    def __init__(self) -> None:
        self.chunks: list[np.ndarray] = []
        self.without_gain = 0

    def average(self, chunk: np.ndarray) -> np.ndarray:
        """The mean over the later half of all steps with this step size."""
        self.chunks.append(chunk)
        return np.mean(self.chunks[len(self.chunks) // 2 :], axis=0)


def _climb(climb: Climb, state: Any, step_size: float, recipe: Recipe) -> _End:
    """Raise the bound until it no longer rises, with ever smaller steps."""
    state, first = (climb.begin(), 0) if state is None else (state, 2 * CHUNK)
    best, values = None, np.full(2, -np.inf)
    rows: list[tuple[int, float, Any]] = []
    skipped, decays, progress = 0, 0, _Progress()
    while not rows or (first < recipe.max_steps and decays <= _DECAYS):  # the race may have used all steps
        state, chunk, bad = climb.advance(state, step_size, first)
        first, skipped = first + CHUNK, skipped + bad
        average = progress.average(chunk)
        new = recipe.bound.values(climb.log_weights(average))
        rows.append((first, step_size, new.mean()))
        gain = _gain(new, values, recipe.tolerance)
        if np.isfinite(new).all() and new.mean() > values.mean():
            best, values = average, new
        progress.without_gain = 0 if gain else progress.without_gain + 1
        if progress.without_gain >= _PATIENCE or not np.isfinite(chunk).all():
            state = climb.begin() if best is None else climb.move(state, best)
            step_size, decays, progress = step_size * _DECAY, decays + 1, _Progress()
    history = History(*(np.array(column) for column in zip(*rows, strict=True)))
    return _End(
        chunk if best is None else best, values, history, decays > _DECAYS, skipped / (CHUNK * len(rows))
    )


def _no_bound(sizes: Sequence[float]) -> InferenceError:
    return InferenceError(
        "guide",
        got=f"no finite bound with any of the step sizes {', '.join(map(str, sizes))}",
        expected="a log density that is finite where the guide draws",
        fix="Give a smaller step_size=, rescale the parameters to the order of 1, or take method='nuts'.",
    )


def _gain(new: np.ndarray, old: np.ndarray, tolerance: float) -> bool:
    """Whether the bound has risen by more than the tolerance, and than the noise of common draws."""
    if not np.isfinite(old).all():
        return bool(np.isfinite(new).all())
    difference = new - old
    noise = standard_error(difference)
    return bool(difference.mean() > max(tolerance, noise))


def _difference(one: _End, other: _End) -> float:
    return float(np.hypot(one.stderr, other.stderr))
