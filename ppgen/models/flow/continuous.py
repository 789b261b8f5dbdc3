"""The continuous flow: data follow a learned velocity field to noise."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ppgen.checks import check_choice, check_integer
from ppgen.models.checks import check_labels
from ppgen.models.flow.family import FlowFamily
from ppgen.models.module_family import seeded
from ppgen.models.networks.velocity import VelocityMap
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["ContinuousFlow"]

Trace = Literal["exact", "hutchinson"]

FEW = 16  # entries up to which the trace is exact by default, with any number of layers


class ContinuousFlow(FlowFamily):
    r"""A continuous normalising flow (FFJORD): data move to noise along a velocity field.

    .. math:: \frac{d h}{d t} = v(h, t), \quad h(0) = y, \quad u = h(1), \qquad
        \log p(y) = \log p_0(u) + \int_0^1 \mathrm{tr} \frac{\partial v}{\partial h} \, dt

    The velocity can be any network, which need not be invertible. With an exact trace the density is exact up
    to the solver's error, of fifth order in the step. With one or two hidden layers the exact trace costs
    about as much as the velocity, for any number of entries. With more layers it costs a pass per entry, and
    for many entries Hutchinson's random trace is cheaper; the log density is then an unbiased estimate.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, *FFJORD: Free-form Continuous Dynamics for
        Scalable Reversible Generative Models*, 2018, arXiv:1810.01367; Chen, Rubanova, Bettencourt and
        Duvenaud, *Neural Ordinary Differential Equations*, 2018, arXiv:1806.07366.

    Example:
        >>> flow = ContinuousFlow((2,), hidden=(16,), steps=4)
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind, flow.log_prob([[0.0, 0.0]], trace="hutchinson").kind
        ('exact', 'estimate')
    """

    name = "continuous-flow"
    summary = "flow along a velocity field (FFJORD); exact, or an estimate with a random trace"

    hidden: tuple[int, ...] = setting(default=(64, 64, 64), doc="widths of the velocity's network")
    steps: int = setting(default=8, doc="of the solver")
    trace: Trace | None = setting(
        default=None,
        doc=f"of the velocity's Jacobian; by default exact with one or two hidden layers, or for up to {FEW} "
        "entries",
    )

    def make_map(self) -> VelocityMap:
        """A velocity field, followed by a solver."""
        cheap = self.dims <= FEW or len(self.hidden) in (1, 2)
        exact = cheap if self.trace is None else self.trace == "exact"
        return VelocityMap(self.dims, self.context, hidden=self.hidden, steps=self.steps, exact=exact)

    def log_prob(
        self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0, trace: Trace | None = None
    ) -> Likelihood:
        """The log density of each example of ``x (n, *shape)``.

        With an exact trace it is exact for continuous data, up to the solver's error, and a lower bound for
        discrete data. With Hutchinson's trace it is an unbiased estimate of these, with its standard error.

        Args:
            x: examples in the data's own values.
            label: for a model with classes, the class of each example; by default classes are marginalised.
            samples: draws from the cell of a discrete row, and random directions of Hutchinson's trace.
            seed: seed of these draws.
            trace: ``"exact"`` or ``"hutchinson"``; by default the one used in training.
        """
        if trace is not None:
            check_choice("trace", trace, get_args(Trace))
        exact = self.map.exact if trace is None else trace == "exact"
        with self._tracing(exact):
            if self.levels is None and not exact:
                return self._estimate(x, label, check_integer("samples", samples), seed)
            found = super().log_prob(x, label=label, samples=samples, seed=seed)
        if exact:
            return replace(found, how=f"{found.how}, exact trace, {self.map.steps} solver steps")
        return replace(found, kind="estimate", how=f"{found.how}, each with Hutchinson's trace")

    def _estimate(self, x: Any, label: Any, samples: int, seed: int) -> Likelihood:
        """The mean over random directions; an example's directions do not depend on the other examples."""
        rows = self.rows(x)
        labels = check_labels(label, self.classes, len(rows))
        draws = []
        with self.evaluation_mode():
            for i, row in enumerate(rows):
                with seeded(zlib.crc32(row.cpu().numpy().tobytes(), seed)):
                    known = None if labels is None else int(labels[i])
                    draws.append(self._row_draws(row.expand(samples, *self.shape), known).double())
        values = torch.stack(draws).cpu().numpy()  # (n, samples)
        spread = values.std(1, ddof=1) if samples > 1 else np.full(len(values), np.nan)
        how = f"change of variables, Hutchinson's trace, {samples} directions"
        return Likelihood(values.mean(1), "estimate", self.space, self.dims, how, spread / math.sqrt(samples))

    def _row_draws(self, copies: Tensor, label: int | None) -> Tensor:
        """An estimate ``(samples,)`` for each copy of one example; unknown classes are marginalised."""
        if self.classes is None:
            return self.density().log_prob(copies)
        classes = range(self.classes) if label is None else (label,)
        each = [self.density(self._all_of(y, len(copies))).log_prob(copies) for y in classes]
        if label is not None:
            return each[0]
        return (torch.stack(each) + self.class_weights.log()[:, None]).logsumexp(0)

    @contextmanager
    def _tracing(self, exact: bool) -> Iterator[None]:
        before, self.map.exact = self.map.exact, exact
        try:
            yield
        finally:
            self.map.exact = before
