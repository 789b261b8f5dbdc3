"""Paired comparison: is one model better than another on the same test points, as far as the kinds tell?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from ppgen.checks import check_number
from ppgen.errors import InvalidArgument
from ppgen.kernels.monte_carlo import standard_error
from ppgen.program.likelihood import Kind, Likelihood

__all__ = ["LikelihoodComparison", "compare_likelihoods"]

# What a mean says about the true mean log p: that it is at least this, at most this, or both.
_AT_LEAST: tuple[Kind, ...] = ("exact", "lower_bound", "estimate")
_AT_MOST: tuple[Kind, ...] = ("exact", "upper_bound", "estimate")
_NOUN: dict[Kind, str] = {
    "exact": "exact value",
    "lower_bound": "lower bound",
    "upper_bound": "upper bound",
    "estimate": "estimate",
}


@dataclass(frozen=True)
class LikelihoodComparison:
    """Comparison of two models by paired differences on the same test points.

    Attributes:
        names: of the two models, a and b.
        kinds: of their likelihoods.
        n: the number of test points.
        difference: the mean of :math:`\\log p_a(x_i) - \\log p_b(x_i)`, in nats; positive favours a.
        stderr: its standard error over test sets of this size.
        interval: its confidence interval.
        noise: the part of ``stderr`` due to Monte Carlo noise of individual values, 0 if there is none.
        winner: the name of the better model, if interval and kinds permit a conclusion; else ``None``.
        reading: the conclusion as a sentence.
    """

    names: tuple[str, str]
    kinds: tuple[Kind, Kind]
    n: int
    difference: float
    stderr: float
    interval: tuple[float, float]
    noise: float
    winner: str | None
    reading: str

    def __str__(self) -> str:
        return self.reading

    def to_json(self) -> dict[str, Any]:
        """All attributes, as plain values."""
        return asdict(self)


def compare_likelihoods(
    a: Any,
    b: Any,
    x: Any = None,
    *,
    names: tuple[str, str] = ("a", "b"),
    level: float = 0.95,
    log_prob: Callable[[Any, Any], Likelihood] | None = None,
) -> LikelihoodComparison:
    r"""Compare two models on the same test points.

    .. math:: \bar d = \frac1n \sum_i d_i, \quad d_i = \log p_a(x_i) - \log p_b(x_i), \qquad
        \mathrm{se} = \mathrm{sd}(d) / \sqrt n

    Points that are hard for one model are hard for the other, so that the differences vary far less than the
    values: two models whose own intervals overlap may still differ clearly.

    What follows depends on the kinds. A lower bound above an exact value is a real win; one below it is
    inconclusive. Of two lower bounds the higher is more promising, but not conclusive.

    Args:
        a, b: likelihoods of the same examples in the same order; or, with ``x``, two models.
        x: the examples ``(n, *shape)``.
        names: the names of the two models.
        level: of the interval.
        log_prob: from a model and examples to a likelihood; by default the model's own ``log_prob``.

    Raises:
        InvalidArgument: if the likelihoods differ in the number or kind of examples (discrete and
            continuous, or other dims), have fewer than two, or are not finite; or if models come without x.

    References:
        Student, *The probable error of a mean*, Biometrika 1908 (the paired test); Vehtari, Gelman and
        Gabry, 2017, arXiv:1507.04544, section 5.2 (differences of pointwise log densities).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hard = rng.normal(-100, 20, size=400)                        # the points differ far more
        >>> a = Likelihood(hard + 1 + rng.normal(size=400), "lower_bound", "discrete", 64, "ELBO")
        >>> b = Likelihood(hard, "exact", "discrete", 64, "autoregressive")
        >>> print(compare_likelihoods(a, b, names=("vae", "made")))
        vae's lower bound beats made's exact value by 0.98 ± 0.05 nats a point (95 % interval 0.89 to ...
    """
    if x is not None:
        score = log_prob or (lambda model, rows: model.log_prob(rows))
        a, b = (_scored(score, model, x, name) for model, name in zip((a, b), names, strict=True))
    _check(a, b, names, level)
    differences = a.values - b.values
    difference, n = float(differences.mean()), len(differences)
    stderr = float(standard_error(differences))
    half = float(ndtri(0.5 + level / 2)) * stderr
    interval = (difference - half, difference + half)
    winner, reading = _conclude(names, (a.kind, b.kind), difference, stderr, interval, level)
    return LikelihoodComparison(
        names, (a.kind, b.kind), n, difference, stderr, interval, _noise(a, b), winner, reading
    )


def _noise(a: Likelihood, b: Likelihood) -> float:
    squares = [np.square(one.stderr) for one in (a, b) if one.stderr is not None]
    return float(math.sqrt(sum(np.nan_to_num(square).sum() for square in squares)) / len(a))


def _conclude(
    names: tuple[str, str],
    kinds: tuple[Kind, Kind],
    difference: float,
    stderr: float,
    interval: tuple[float, float],
    level: float,
) -> tuple[str | None, str]:
    ahead, behind = (0, 1) if difference >= 0 else (1, 0)
    first = f"{names[ahead]}'s {_NOUN[kinds[ahead]]}"
    second = f"{names[behind]}'s {_NOUN[kinds[behind]]}"
    low, high = interval if ahead == 0 else (-interval[1], -interval[0])
    size = f"{abs(difference):.2f} ± {stderr:.2f} nats a point"
    between = f"({level * 100:g} % interval {low:.2f} to {high:.2f})"
    if low <= 0:
        return (
            None,
            f"No difference is found: {first} is {size} above {second} {between}.",
        )
    win = f"{first} beats {second} by {size} {between}"
    if kinds[ahead] in _AT_LEAST and kinds[behind] in _AT_MOST:
        doubt = "estimate" in kinds
        caveat = "a win, provided the estimate is unbiased" if doubt else "a real win"
        return names[ahead], f"{win}: {caveat}."
    if kinds == ("lower_bound", "lower_bound"):
        return None, f"{win}: it promises more, but the other model's bound may be the looser one."
    if kinds == ("upper_bound", "upper_bound"):
        return None, f"{win}: but an upper bound promises nothing."
    wrong = ahead if kinds[ahead] not in _AT_LEAST else behind
    bound = _NOUN[kinds[wrong]]
    side = "below" if bound == "upper bound" else "above"
    return (
        None,
        f"{win}, which is inconclusive: the true value of {names[wrong]} may be far {side} its {bound}.",
    )


def _scored(score: Callable[[Any, Any], Likelihood], model: Any, x: Any, name: str) -> Any:
    if isinstance(model, Likelihood):
        raise InvalidArgument(
            "x",
            got=f"x together with the likelihood {name!r}",
            expected="x with two models, or two likelihoods alone",
            fix="Leave x out.",
        )
    return score(model, x)


def _check(a: Any, b: Any, names: tuple[str, str], level: float) -> None:
    for one, name in zip((a, b), names, strict=True):
        if not isinstance(one, Likelihood):
            raise InvalidArgument(
                name,
                got=f"a {type(one).__name__}",
                expected="a Likelihood, or a model together with x",
                fix="Write compare_likelihoods(a.log_prob(x), b.log_prob(x)).",
            )
        if not np.isfinite(one.values).all():
            raise InvalidArgument(
                name,
                got=f"{int((~np.isfinite(one.values)).sum())} values that are not finite",
                expected="a finite log density of each point",
                fix="A model that gives a point probability 0 loses: look at these points first.",
            )
    described = [f"{len(one)} points, {one.space}, {one.dims} dims" for one in (a, b)]
    if described[0] != described[1] or len(a) < 2:
        raise InvalidArgument(
            "b",
            got=f"{described[1]}, and {described[0]}",
            expected="two likelihoods of the same test points, at least two, in one space",
            fix="Pass both models the same examples in the same order.",
        )
    check_number("level", level, above=0.0, below=1.0, example=0.95)
    if names[0] == names[1]:
        raise InvalidArgument(
            "names", got=repr(names), expected="two names", fix="Write names=('vae', 'flow')."
        )
