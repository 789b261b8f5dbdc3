"""What the flows have in common: the program, its guide within the cells of levels, and its density."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_name
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.cell import CellFlow
from ppgen.models.distributions.flow import Flow
from ppgen.models.networks.spline import BOUND, spline_map
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.program.likelihood import Likelihood

__all__ = ["Dequantization", "FlowFamily"]

Dequantization = Literal["uniform", "variational"]

SPREAD = 0.3  # of levels around the middle, as a share of their range: about that of uniform noise
_GUIDE: Mapping[str, Any] = {"transforms": 2, "hidden": (256, 256), "bins": 4, "coupling": False}


class FlowFamily(PyroFamily, ABC):
    r"""Noise pushed through an invertible map; a member says which map.

    .. math:: u \sim p_0, \qquad y = f^{-1}(u), \qquad
        \log p(y) = \log p_0(f(y)) + \log |\det f'(y)|

    Continuous rows are y itself, and their density is exact. Discrete rows are :math:`x = \lfloor y \rfloor`,
    so that :math:`p(x)` is the integral of the density over a unit cell. The guide draws y in the cell,
    uniformly or by a flow of its own: what is known as dequantization is this program's ELBO. With classes,
    the map depends on the label too.

    A member sets ``self.map``, a module that gives the map from standardised rows ``(..., d)`` to noise when
    it is called with a context ``(..., classes)``, or with none.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        config: the member's own settings.
        classes: how many classes the rows have, for a model of rows given their class.
        dequantization: how the guide draws y in the cell of discrete rows.
        seed: seed of the initial weights.

    References:
        Theis, van den Oord and Bethge, *A note on the evaluation of generative models*, 2015,
        arXiv:1511.01844 (dequantization as a bound); Ho et al., *Flow++*, 2019, arXiv:1902.00275 (variational
        dequantization).
    """

    map: nn.Module
    on_a_box: ClassVar[bool] = False
    """Whether the map takes the box [-BOUND, BOUND] onto itself, so that levels can fill it exactly."""

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        config: Mapping[str, Any],
        *,
        classes: int | None,
        dequantization: Dequantization,
        seed: int,
    ) -> None:
        check_name("dequantization", dequantization, get_args(Dequantization))
        _check_needed(dequantization, levels)
        objectives = ("likelihood",) if levels is None else ("elbo", "iwae")
        settings = {**config, "dequantization": dequantization, "seed": seed}
        super().__init__(shape, levels, settings, objectives, classes=classes)
        if self.levels is not None:
            self.loc.fill_(self.levels / 2)
            self.scale.fill_(self.levels / (2 * BOUND) if self.on_a_box else self.levels * SPREAD)
        self.cell_map: nn.Module | None = None
        if dequantization == "variational":
            with seeded(seed):
                self.cell_map = spline_map(self.dims, self.dims + self.context, **_GUIDE)

    @property
    def context(self) -> int:
        """The length of what the map depends on: one number a class."""
        return self.classes or 0

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: site ``x`` for continuous data, sites ``y`` and ``x = floor(y)`` for discrete data.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            if self.levels is None:
                return pyro.sample("x", self.density(label), obs=x)  # (n, *shape)
            y = pyro.sample("y", self.density(label))  # (n, *shape)
            level = y.detach().floor().clamp(0, self.levels - 1)
            return pyro.sample("x", dist.Delta(level, event_dim=len(self.shape)), obs=x)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """The guide: y in the cell of the levels ``x (n, *shape)``; continuous rows need none."""
        if self.levels is None:
            return None
        self.register()
        transform = None
        if self.cell_map is not None:
            told = self.as_input(x).flatten(1)  # (n, d)
            transform = self.cell_map(told if label is None else torch.cat([told, self._one_hot(label)], 1))
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", CellFlow(transform, x, BOUND, len(self.shape)))

    def density(self, label: Tensor | None = None) -> PyroDistribution:
        """The distribution of one continuous row y in the data's units; given labels ``(n,)``, of n rows.

        Raises:
            InvalidArgument: if the model has classes and no label is given, or the other way round.
        """
        _check_label(label, self.classes)
        transform = self.map(None if label is None else self._one_hot(label))
        batch = () if label is None else tuple(label.shape)
        return Flow(transform, self._base(), self.loc, self.scale, batch, support=self._entry_support())

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
        """
        return self._draw(n, seed, lambda size, *label: self.model(None, size, *label), label=label)

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The log density of each row of ``x (n, *shape)``: exact if continuous, a lower bound if discrete.

        Args:
            x: rows in the data's own values.
            label: for a model with classes, the class of each row; by default classes are summed out.
            samples: for discrete data, draws from each row's cell; 1 gives the ELBO, more a tighter bound.
            seed: seed of these draws.
        """
        if self.levels is not None:
            return self._bound(x, self.guide, samples, seed, label=label)
        values = self._score(x, lambda rows, *label: self.density(*label).log_prob(rows), label=label)
        return Likelihood(values, "exact", self.space, self.dims, how="change of variables")

    def _base(self) -> PyroDistribution:
        if self.levels is None or not self.on_a_box:
            return dist.Normal(self.loc.new_zeros(self.dims), 1.0).to_event(1)
        # Levels fill a box, which the map takes onto itself; a little slack takes up its rounding.
        edge = torch.full_like(self.loc.flatten(), BOUND + 1e-4)
        return dist.Uniform(-edge, edge, validate_args=False).to_event(1)

    def _entry_support(self) -> constraints.Constraint:
        if self.levels is None or not self.on_a_box:
            return constraints.real
        return constraints.interval(0.0, float(self.levels))

    def _one_hot(self, label: Tensor) -> Tensor:
        """Contexts ``(*batch, classes)`` of labels ``(*batch)``."""
        return (label[..., None] == torch.arange(self.context, device=label.device)).to(self.loc.dtype)


def _check_needed(dequantization: str, levels: int | None) -> None:
    if dequantization == "variational" and levels is None:
        raise InvalidArgument(
            "dequantization",
            got="'variational' for continuous data",
            expected="a model with levels: continuous rows are not dequantized",
            fix="Leave dequantization out, or write levels=....",
        )


def _check_label(label: Tensor | None, classes: int | None) -> None:
    if (label is None) == (classes is None):
        return
    raise InvalidArgument(
        "label",
        got="none" if label is None else "labels",
        expected="the class of each row" if label is None else "none: the model was built without classes",
        fix="Write label=..." if label is None else "Leave label out, or build it with classes=....",
    )
