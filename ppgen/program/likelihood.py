"""A likelihood that says what kind of number it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppgen.errors import InvalidArgument

__all__ = ["Kind", "Likelihood", "Space"]

Kind = Literal["exact", "lower_bound", "upper_bound", "estimate"]
Space = Literal["discrete", "continuous"]


@dataclass(frozen=True, eq=False)
class Likelihood:
    r"""Log densities of n data points in nats, and what kind of number they are.

    Attributes:
        values: ``(n,)``, :math:`\log p(x_i)` in nats, or a bound on it.
        kind: ``"exact"``, ``"lower_bound"``, ``"upper_bound"`` or ``"estimate"``.
        space: ``"discrete"`` for probabilities of values with levels, ``"continuous"`` for densities in
            the data's own units.
        dims: how many numbers one data point holds.
        how: a description of the method, for example ``"importance-weighted bound, 64 samples"``.
        stderr: ``(n,)`` Monte Carlo standard error of each value, or ``None`` where nothing was sampled.

    Example:
        >>> fair = Likelihood(np.full(4, 2 * np.log(0.5)), "exact", "discrete", dims=2, how="two coins")
        >>> fair.kind, round(fair.mean(), 3), fair.bits_per_dim()
        ('exact', -1.386, 1.0)
    """

    values: np.ndarray
    kind: Kind
    space: Space
    dims: int
    how: str
    stderr: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("values", "stderr"):
            array = getattr(self, name)
            if array is not None and array.shape != (len(self.values),):
                raise InvalidArgument(
                    name,
                    got=f"shape {array.shape}",
                    expected=f"({len(self.values)},)",
                    fix="Give one number a data point.",
                )

    def __len__(self) -> int:
        return len(self.values)

    def mean(self) -> float:
        """The mean log density in nats."""
        return float(self.values.mean())

    def mean_stderr(self) -> float:
        r"""The standard error of :meth:`mean` as an average over the data distribution.

        :math:`\mathrm{sd}(\log p(x_i)) / \sqrt n`: how far another test set of this size would be off.
        Monte Carlo noise in the single values is part of their spread.
        """
        if len(self) < 2:
            return math.nan
        return float(self.values.std(ddof=1) / math.sqrt(len(self)))

    def bits_per_dim(self) -> float:
        r"""The mean of :math:`-\log_2 p(x) / d`; lower is better."""
        return -self.mean() / (self.dims * math.log(2))

    def bits_per_dim_interval(self, level: float = 0.95) -> tuple[float, float]:
        """A normal confidence interval of :meth:`bits_per_dim` over test sets of this size.

        Example:
            >>> ll = Likelihood(np.array([-1.0, -2.0, -3.0]), "exact", "discrete", dims=1, how="")
            >>> low, high = ll.bits_per_dim_interval()
            >>> round(low, 2), round(high, 2)
            (1.25, 4.52)
        """
        from scipy.special import ndtri

        half = float(ndtri(0.5 + level / 2)) * self.mean_stderr() / (self.dims * math.log(2))
        return self.bits_per_dim() - half, self.bits_per_dim() + half

    def __repr__(self) -> str:
        # A lower bound on log p is an upper bound on the bits, so the true bits are at most the number shown.
        sign = {"exact": "=", "lower_bound": "≤", "upper_bound": "≥", "estimate": "≈"}[self.kind]
        return (
            f"Likelihood({self.kind}, {self.space}, n={len(self)}: bits/dim {sign} {self.bits_per_dim():.4f} "
            f"± {self.mean_stderr() / (self.dims * math.log(2)):.4f}; {self.how})"
        )
