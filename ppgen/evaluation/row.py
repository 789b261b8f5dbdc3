"""One model's row in a scorecard, and which rows may be ranked against each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ppgen.evaluation.quality.measurement import Measurement
from ppgen.program.likelihood import Kind, Likelihood, Space

__all__ = ["SIGNS", "Group", "Row", "group_rows", "how_to_compare"]

# A lower bound on log p is an upper bound on the bits, so the true bits are at most the number shown.
SIGNS: dict[Kind | None, str] = {
    "exact": "=",
    "lower_bound": "≤",
    "estimate": "≈",
    "upper_bound": "≥",
    None: "",
}

_TITLES: dict[Kind | None, str] = {
    "exact": "Exact log p",
    "lower_bound": "Lower bounds on log p",
    "estimate": "Estimates of log p",
    "upper_bound": "Upper bounds on log p",
    None: "No likelihood",
}


@dataclass(frozen=True)
class Row:
    r"""One model's measurements on the test set.

    Attributes:
        model: its name.
        family: its class.
        kind: the kind of its likelihood; ``None`` for a model without one.
        space: ``"discrete"`` or ``"continuous"``.
        bits_per_dim: :math:`-\log_2 p(x) / d`, averaged; lower is better. ``None`` if not measured
            or infinite.
        interval: its 95 % confidence interval over test sets of this size.
        nats: the mean log p of a test example; higher is better.
        nats_stderr: the standard error of ``nats``.
        parameters: the number of trained parameters.
        train_seconds: how long training took.
        sample_seconds: how long one sample takes, drawn in a batch.
        how: a description of the method.
        baseline: whether it is one of ppgen's baselines.
        quality: the measurements of its samples.
        quality_note: why there are none, if there are none.
    """

    model: str
    family: str
    kind: Kind | None
    space: Space
    bits_per_dim: float | None = None
    interval: tuple[float, float] | None = None
    nats: float | None = None
    nats_stderr: float | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    sample_seconds: float | None = None
    how: str = ""
    baseline: bool = False
    quality: tuple[Measurement, ...] = ()
    quality_note: str = ""

    def measured(self, name: str) -> Measurement | None:
        """The measurement of its samples with this name, such as ``"precision"``; ``None`` without one."""
        return next((figure for figure in self.quality if figure.name == name), None)

    @classmethod
    def of(cls, model: str, family: str, likelihood: Likelihood) -> Row:
        """The row of a model, from its likelihood on the test set.

        An infinite mean cannot be ranked: it is left out, and ``how`` says so.

        Example:
            >>> from dataclasses import replace
            >>> coin = Likelihood(np.log([0.5, 0.5]), "exact", "discrete", dims=1, how="fair coin")
            >>> Row.of("coin", "Coin", coin).bits_per_dim
            1.0
            >>> Row.of("never", "Coin", replace(coin, values=np.array([0.0, -np.inf]))).how
            'fair coin; 1 of 2 test rows have probability 0 or no number'
        """
        broken = int((~np.isfinite(likelihood.values)).sum())
        if broken:
            total = len(likelihood)
            how = f"{likelihood.how}; {broken} of {total} test rows have probability 0 or no number"
            return cls(model, family, likelihood.kind, likelihood.space, how=how)
        several = len(likelihood) > 1  # one example has no spread
        return cls(
            model,
            family,
            likelihood.kind,
            likelihood.space,
            likelihood.bits_per_dim(),
            likelihood.bits_per_dim_interval() if several else None,
            likelihood.mean(),
            likelihood.mean_stderr() if several else None,
            how=likelihood.how,
        )


@dataclass(frozen=True)
class Group:
    """Rows of one space and one kind, best first: the only rows that are ranked against each other."""

    space: Space
    kind: Kind | None
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The kind of numbers in this group."""
        if self.kind is None:
            return _TITLES[None]
        values = "discrete values" if self.space == "discrete" else "densities"
        return f"{_TITLES[self.kind]}, {values}"


def group_rows(rows: Iterable[Row]) -> tuple[Group, ...]:
    """Group rows by space and kind, each group with the lowest bits/dim first.

    Example:
        >>> flow = Row("flow", "Flow", "lower_bound", "discrete", 2.0, None, -88.7, None)
        >>> vae = Row("vae", "VAE", "lower_bound", "discrete", 1.9, None, -84.3, None)
        >>> transformer = Row("t", "Transformer", "exact", "discrete", 1.95, None, -86.5, None)
        >>> [(g.kind, [r.model for r in g.rows]) for g in group_rows([flow, vae, transformer])]
        [('exact', ['t']), ('lower_bound', ['vae', 'flow'])]
    """
    members: dict[tuple[Space, Kind | None], list[Row]] = {}
    for row in rows:
        members.setdefault((row.space, row.kind), []).append(row)
    spaces, kinds = ("discrete", "continuous"), list(SIGNS)
    ordered = sorted(members, key=lambda key: (spaces.index(key[0]), kinds.index(key[1])))
    return tuple(Group(*key, rows=tuple(sorted(members[key], key=_rank))) for key in ordered)


def how_to_compare(groups: Sequence[Group]) -> tuple[str, ...]:
    """State in plain sentences what follows from the numbers of these groups."""
    kinds = {group.kind for group in groups}
    n_bounds = sum(len(group.rows) for group in groups if group.kind == "lower_bound")
    sentences = [
        (
            "lower_bound" in kinds,
            "A lower bound on log p is an upper bound on bits/dim: "
            "the true figure is at most the one shown (≤).",
        ),
        (
            {"exact", "lower_bound"} <= kinds,
            "A bound below an exact figure is a real win; a bound above it is inconclusive.",
        ),
        (
            n_bounds > 1,
            "Of two bounds the lower one is more promising, but the other model may still be better.",
        ),
        (
            "upper_bound" in kinds,
            "An upper bound on log p is a lower bound on bits/dim (≥): "
            "above an exact figure it is a real loss, below one it is inconclusive.",
        ),
        (
            "estimate" in kinds,
            "An estimate (≈) can err in either direction; it is ranked only among estimates.",
        ),
        (
            len({group.space for group in groups}) > 1,
            "Probabilities of discrete values and densities are different quantities: "
            "neither is ranked against the other.",
        ),
        (None in kinds, "A model without a likelihood is listed but not ranked."),
        (
            any(row.interval for group in groups for row in group.rows),
            "Intervals are over test sets of this size. All models share the same test set, so differences "
            "between models are more certain than the overlap of their intervals suggests.",
        ),
    ]
    return tuple(sentence for applies, sentence in sentences if applies)


def _rank(row: Row) -> tuple[bool, float]:
    return row.bits_per_dim is None, row.bits_per_dim or 0.0
