"""The normalising constant of an energy, as an estimate with its error and as a bracket from both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LogPartition", "LogPartitionBracket"]


@dataclass(frozen=True)
class LogPartition:
    """The log of a normalising constant.

    Attributes:
        value: in nats.
        stderr: its Monte Carlo standard error; 0 where nothing was sampled.
        how: a description of the method.

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
        upper: by chains from the model back to the start; too high in expectation, if they start from draws
            of the model.

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
        """Upper minus lower, in nats; negative only by chance."""
        return self.upper.value - self.lower.value

    @property
    def gap_stderr(self) -> float:
        """The standard error of :attr:`gap`; both sides have independent noise."""
        return math.hypot(self.lower.stderr, self.upper.stderr)

    @property
    def interval(self) -> tuple[float, float]:
        """From two standard errors below the lower side to two above the upper one."""
        return self.lower.value - 2 * self.lower.stderr, self.upper.value + 2 * self.upper.stderr

    @property
    def reading(self) -> str:
        """The two sides and their agreement, as a sentence."""
        sides = [f"{side.value:.2f} ± {side.stderr:.2f}" for side in (self.lower, self.upper)]
        if self.gap < -3 * self.gap_stderr:
            return (
                f"log Z: {sides[0]} from below and {sides[1]} from above contradict each other. The rows "
                "that start the reverse path are not the model's: use longer chains or more temperatures."
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
