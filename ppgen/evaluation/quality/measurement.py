"""A measurement: its value, its interval, and the features that it was measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from ppgen.errors import InvalidArgument
from ppgen.evaluation.features.spec import FeatureSpec
from ppgen.style.numbers import as_sure_as

__all__ = ["Better", "Difference", "JointMeasurement", "Measurement"]

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A measurement of sample quality, with its uncertainty.

    Attributes:
        name: what was measured.
        value: the measured value.
        interval: its 95 % interval over samples of this size, real and generated.
        stderr: its standard error.
        n: the number of generated examples.
        n_real: the number of real examples.
        spec: the features that it was measured on.
        better: whether lower or higher values are better; ``"neither"`` if a certain value is best.
        how: a description of the method and its settings.
        warnings: reasons not to trust it, as sentences.

    Example:
        >>> pixels = FeatureSpec("pixels")
        >>> a = Measurement(name="precision", value=0.9, interval=(0.8, 1.0), stderr=0.05, n=200, n_real=200,
        ...                 spec=pixels, better="higher", how="3 neighbours")
        >>> print(a)
        precision 0.900, 95 % interval 0.800 to 1.000 (200 generated against 200 real rows; pixels)
    """

    name: str
    value: float
    interval: tuple[float, float]
    stderr: float
    n: int
    n_real: int
    spec: FeatureSpec
    better: Better
    how: str
    warnings: tuple[str, ...] = ()

    @property
    def reading(self) -> str:
        """The value and its interval, as a sentence."""
        value, low, high = (as_sure_as(x, self.stderr or None) for x in (self.value, *self.interval))
        return (
            f"{self.name} {value}, 95 % interval {low} to {high} "
            f"({self.n:,} generated against {self.n_real:,} real rows; {self.spec.name})"
        )

    @property
    def plain(self) -> Measurement:
        """The measurement without the fields that a subclass adds."""
        return Measurement(**{part.name: getattr(self, part.name) for part in fields(Measurement)})

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The plain measurements that a scorecard shows."""
        return (self.plain,)

    def __str__(self) -> str:
        return "\n".join([self.reading, *self.warnings])

    def compare(self, other: Measurement) -> Difference:
        """The difference ``self - other``, if both measure the same thing on the same features.

        The interval treats the two as independent. If both use the same real examples they are not, and the
        interval is somewhat conservative.

        Raises:
            InvalidArgument: if they differ in name, settings or features.
        """
        for what, mine, theirs in (
            ("the figure", self.name, other.name),
            ("features of the spec", self.spec, other.spec),
            ("the settings", self.how, other.how),
        ):
            if mine != theirs:
                raise InvalidArgument(
                    "other",
                    got=f"{what} '{theirs}'",
                    expected=f"'{mine}', as in the first",
                    fix="Measure both with the same function, settings and features.",
                )
        value = self.value - other.value
        half = 1.96 * math.hypot(self.stderr, other.stderr)
        return Difference(self.name, value, (value - half, value + half), self.better)

    def __lt__(self, other: Measurement) -> bool:
        return self.compare(other).value < 0

    def __gt__(self, other: Measurement) -> bool:
        return self.compare(other).value > 0


@dataclass(frozen=True)
class Difference:
    """The difference of two measurements of the same thing.

    Attributes:
        name: what was measured.
        value: the first minus the second.
        interval: the 95 % interval of the difference.
        better: whether lower or higher values are better.
    """

    name: str
    value: float
    interval: tuple[float, float]
    better: Better

    @property
    def reading(self) -> str:
        """Which one is better, if the interval allows a conclusion."""
        if self.interval[0] <= 0 <= self.interval[1]:
            return f"The two cannot be told apart by their {self.name}: the difference's interval contains 0."
        verdict = "lower" if self.value < 0 else "higher"
        if self.better == "neither":
            return f"The first has the {verdict} {self.name}."
        judged = "better" if verdict == self.better else "worse"
        return f"The first is {judged}: its {self.name} is {verdict}."

    def __str__(self) -> str:
        half = (self.interval[1] - self.interval[0]) / 2
        return f"{as_sure_as(self.value, half)} ± {as_sure_as(half, half)}. {self.reading}"


@dataclass(frozen=True)
class JointMeasurement:
    """Several measurements of the same samples: the fields of a subclass."""

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements, in order."""
        return tuple(getattr(self, part.name) for part in fields(self))

    @property
    def value(self) -> tuple[float, ...]:
        """Their values."""
        return tuple(figure.value for figure in self.measurements)

    @property
    def interval(self) -> tuple[tuple[float, float], ...]:
        """Their 95 % intervals."""
        return tuple(figure.interval for figure in self.measurements)

    @property
    def n(self) -> int:
        """The number of generated examples."""
        return self.measurements[0].n

    @property
    def spec(self) -> FeatureSpec:
        """The features that they were measured on."""
        return self.measurements[0].spec

    def __str__(self) -> str:
        first, *others = self.measurements
        return "\n".join([str(first), *(figure.reading for figure in others)])
