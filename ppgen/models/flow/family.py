"""The base of the flows: the program, its guide within the cells of levels, and its density."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppgen.errors import InvalidArgument
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.cell import CellFlow
from ppgen.models.distributions.flow import Flow
from ppgen.models.family import CLASSES
from ppgen.models.module_family import ModuleFamily, seeded
from ppgen.models.networks.spline import BOUND, spline_map
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["DROPOUT", "Dequantization", "FlowFamily", "LayeredFlow"]

Dequantization = Literal["uniform", "variational"]

DROPOUT: Any = setting(default=0.0, least=0.0, below=1.0, doc="on the hidden layers, in training")
SPREAD = 0.3  # of levels around the middle, as a share of their range: about that of uniform noise
_GUIDE: Mapping[str, Any] = {"transforms": 2, "hidden": (256, 256), "bins": 4, "coupling": False}


class FlowFamily(ModuleFamily):
    r"""Base of the flows: noise pushed through an invertible map that a subclass defines.

    .. math:: u \sim p_0, \qquad y = f^{-1}(u), \qquad
        \log p(y) = \log p_0(f(y)) + \log |\det f'(y)|

    Continuous data are y itself, and their density is exact. Discrete data are
    :math:`x = \lfloor y \rfloor`, so that :math:`p(x)` is the integral of the density over a unit cell. The
    guide draws y in the cell, uniformly or by its own flow, so that this program's ELBO is known as
    dequantization. With classes, the map also depends on the label.

    A subclass builds the map: a module that, called with a context ``(..., classes)`` or none, returns the
    map from standardised data ``(..., d)`` to noise.

    References:
        Theis, van den Oord and Bethge, *A note on the evaluation of generative models*, 2015,
        arXiv:1511.01844 (dequantization as a bound); Ho et al., *Flow++*, 2019, arXiv:1902.00275 (variational
        dequantization).
    """

    on_a_box: ClassVar[bool] = False
    """Whether the map takes the box [-BOUND, BOUND] onto itself, so that levels can fill it exactly."""

    dequantization: Dequantization = setting(
        default="uniform",
        doc="how the guide draws y in the cell of discrete data; ``variational`` by a learned flow",
    )
    classes: int | None = CLASSES

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it, the default first."""
        return ("likelihood",) if self.levels is None else ("elbo", "iwae")

    def build(self) -> None:
        """Build the map, and the guide's."""
        _check_needed(self.dequantization, self.levels)
        self.cell_map: nn.Module | None = None
        if self.levels is not None:
            self.loc.fill_(self.levels / 2)
            self.scale.fill_(self.levels / (2 * BOUND) if self.on_a_box else self.levels * SPREAD)
        if self.dequantization == "variational":
            self.cell_map = spline_map(self.dims, self.dims + self.context, **_GUIDE)
        with seeded(self.seed):  # the same map, whatever the guide
            self.map: Any = self.make_map()

    @abstractmethod
    def make_map(self) -> nn.Module:
        """The map from standardised data to noise."""

    @property
    def context(self) -> int:
        """The length of the context: one number per class."""
        return self.classes or 0

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: site ``x`` for continuous data, sites ``y`` and ``x = floor(y)`` for discrete data.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            if self.levels is None:
                return pyro.sample("x", self.density(label), obs=x)  # (n, *shape)
            y = pyro.sample("y", self.density(label))  # (n, *shape)
            level = y.detach().floor().clamp(0, self.levels - 1)
            return pyro.sample("x", dist.Delta(level, event_dim=len(self.shape)), obs=x)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor | None:
        """The guide: y in the cell of the levels ``x (n, *shape)``; continuous data need none."""
        if self.levels is None:
            return None
        self.register()
        transform = None
        if self.cell_map is not None:
            transform = self.cell_map(self.with_class(self.as_input(x).flatten(1), label))
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", CellFlow(transform, x, BOUND, len(self.shape)))

    def density(self, label: Tensor | None = None) -> PyroDistribution:
        """The distribution of one continuous y in the data's units; given labels ``(n,)``, of n of them.

        Raises:
            InvalidArgument: if the model has classes and no label is given, or the other way round.
        """
        transform = self.map(self.one_hot(label))
        batch = () if label is None else tuple(label.shape)
        return Flow(transform, self._base(), self.loc, self.scale, batch, support=self._entry_support())

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The log density of each example of ``x (n, *shape)``: exact if continuous, else a lower bound.

        Args:
            x: examples in the data's own values.
            label: for a model with classes, the class of each example; by default classes are marginalised.
            samples: for discrete data, draws from each example's cell; 1 gives the ELBO, more a tighter
                bound.
            seed: seed of these draws.
        """
        if self.levels is not None:
            return self.bound_rows(x, self.guide, samples, seed, label=label)
        values = self.score_rows(x, lambda rows, *label: self.density(*label).log_prob(rows), label=label)
        return Likelihood(values, "exact", self.space, self.dims, how="change of variables")

    def _base(self) -> PyroDistribution:
        if self.levels is None or not self.on_a_box:
            return dist.Normal(self.loc.new_zeros(self.dims), 1.0).to_event(1)
        # Levels fill a box, which the map takes onto itself; a little slack absorbs rounding.
        edge = torch.full_like(self.loc.flatten(), BOUND + 1e-4)
        return dist.Uniform(-edge, edge, validate_args=False).to_event(1)

    def _entry_support(self) -> constraints.Constraint:
        if self.levels is None or not self.on_a_box:
            return constraints.real
        return constraints.interval(0.0, float(self.levels))


class LayeredFlow(FlowFamily):
    """Base of flows with several layers, each with its own network."""

    transforms: int = setting(default=4, doc="how many layers")
    hidden: tuple[int, ...] = setting(default=(256, 256), doc="widths of each layer's network")


def _check_needed(dequantization: str, levels: int | None) -> None:
    if dequantization == "variational" and levels is None:
        raise InvalidArgument(
            "dequantization",
            got="'variational' for continuous data",
            expected="a model with levels: continuous data are not dequantized",
            fix="Leave dequantization out, or write levels=....",
        )
