r"""The normalising constant of an energy: by annealed importance sampling, from below and from above.

For a path of unnormalised densities :math:`f_0, \dots, f_K` whose first is easy to draw from, chains that
move by kernels which leave each :math:`f_k` invariant have weights
:math:`\log w = \sum_k \log f_k(x_{k-1}) - \log f_{k-1}(x_{k-1})` with :math:`\mathbb{E}[w] = Z_K / Z_0`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax
from scipy.special import logsumexp

__all__ = ["LogPartition", "LogPartitionBracket", "anneal", "from_weights"]


@dataclass(frozen=True)
class LogPartition:
    """The log of a normalising constant.

    Attributes:
        value: in nats.
        stderr: its Monte Carlo standard error; 0 where nothing was sampled.
        how: the method in words.

    Example:
        >>> LogPartition(3.25, 0.015, "AIS")
        LogPartition(3.250 ± 0.015; AIS)
    """

    value: float
    stderr: float
    how: str

    @property
    def exact(self) -> bool:
        """Whether nothing was sampled."""
        return self.stderr == 0

    def __repr__(self) -> str:
        return f"LogPartition({self.value:.3f} ± {self.stderr:.3f}; {self.how})"


@dataclass(frozen=True)
class LogPartitionBracket:
    """The log of a normalising constant from below and from above.

    Attributes:
        lower: by annealed importance sampling; too low in expectation.
        upper: by chains that go back from the model to the start; too high in expectation, as far as their
            first rows are the model's.

    Example:
        >>> sides = LogPartition(3.2, 0.03, "AIS"), LogPartition(3.3, 0.04, "reverse AIS")
        >>> bracket = LogPartitionBracket(*sides)
        >>> round(bracket.gap, 2), round(bracket.gap_stderr, 2)
        (0.1, 0.05)
        >>> print(bracket)
        log Z lies between 3.20 ± 0.03 and 3.30 ± 0.04: the two sides agree within 0.20 nats.
    """

    lower: LogPartition
    upper: LogPartition

    @property
    def gap(self) -> float:
        """Upper less lower, in nats; negative only by chance."""
        return self.upper.value - self.lower.value

    @property
    def gap_stderr(self) -> float:
        """The standard error of :attr:`gap`; both sides have noise of their own."""
        return math.hypot(self.lower.stderr, self.upper.stderr)

    @property
    def interval(self) -> tuple[float, float]:
        """From two standard errors below the lower side to two above the upper one."""
        return self.lower.value - 2 * self.lower.stderr, self.upper.value + 2 * self.upper.stderr

    @property
    def reading(self) -> str:
        """What the two sides say, as a sentence."""
        sides = [f"{side.value:.2f} ± {side.stderr:.2f}" for side in (self.lower, self.upper)]
        if self.gap < -3 * self.gap_stderr:
            return (
                f"log Z: {sides[0]} from below and {sides[1]} from above contradict each other. The rows "
                "that the way back begins with are not the model's: take longer chains or more temperatures."
            )
        within = math.ceil((abs(self.gap) + 2 * self.gap_stderr) * 10 - 1e-9) / 10
        return f"log Z lies between {sides[0]} and {sides[1]}: the two sides agree within {within:.2f} nats."

    def to_json(self) -> dict[str, float | str]:
        """Both sides and the gap, as plain values."""
        return {
            "lower": self.lower.value,
            "lower_stderr": self.lower.stderr,
            "upper": self.upper.value,
            "upper_stderr": self.upper.stderr,
            "gap": self.gap,
            "gap_stderr": self.gap_stderr,
            "how": f"{self.lower.how}; {self.upper.how}",
        }

    def __str__(self) -> str:
        return self.reading


def anneal(
    energy: Callable[[Any, jax.Array], jax.Array],
    move: Callable[[Any, jax.Array, jax.Array], jax.Array],
    path: Any,
    x: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Take chains along a path of energies.

    Args:
        energy: ``energy(place, x)`` of rows ``(n,)`` at a place of the path.
        move: ``move(place, key, x)`` leaves the density of that place invariant.
        path: the places, a tree of arrays ``(k + 1, ...)``, the start first.
        x: draws ``(n, *shape)`` of the density at the start.
        keys: of the moves ``(k,)``.

    Returns:
        The chains' ends, and their log weights ``(n,)``: the mean weight is the ratio of the last
        normalising constant to the first, in expectation.

    References:
        Neal, *Annealed Importance Sampling*, 1998, arXiv:physics/9803008; Salakhutdinov and Murray, *On the
        Quantitative Analysis of Deep Belief Networks*, ICML 2008.
    """

    def step(x: jax.Array, at: tuple[Any, Any, jax.Array]) -> tuple[jax.Array, jax.Array]:
        before, after, key = at
        gain = energy(before, x) - energy(after, x)
        return move(after, key, x), gain

    before = jax.tree.map(lambda places: places[:-1], path)
    after = jax.tree.map(lambda places: places[1:], path)
    x, gains = lax.scan(step, x, (before, after, keys))
    return x, gains.sum(0)


def from_weights(log_weights: np.ndarray) -> tuple[float, float]:
    """The log of the mean weight and its standard error, by the delta method.

    Example:
        >>> value, stderr = from_weights(np.log([1.0, 2.0, 3.0]))
        >>> round(value, 3), round(stderr, 3)                      # log 2 and 1 / (2 sqrt 3)
        (0.693, 0.289)
    """
    log_weights = np.asarray(log_weights, np.float64)
    value = float(logsumexp(log_weights)) - math.log(len(log_weights))
    relative = np.exp(log_weights - value)
    return value, float(relative.std(ddof=1)) / math.sqrt(len(log_weights))
