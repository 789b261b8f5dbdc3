"""The neural spline flow: noise pushed through an invertible map, with an exact density."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ppgen.models.checks import check_positive, check_sizes
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.flow import Flow
from ppgen.models.networks.spline import BOUND, spline_map
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.program.likelihood import Likelihood

__all__ = ["NeuralSplineFlow"]


class NeuralSplineFlow(PyroFamily):
    r"""A neural spline flow; for discrete data, with the cell around each level as a latent variable.

    .. math:: u \sim p_0, \qquad y = f^{-1}(u), \qquad
        \log p(y) = \log p_0(f(y)) + \log |\det f'(y)|

    Continuous rows are y itself, and their density is exact. Discrete rows are :math:`x = \lfloor y \rfloor`,
    so that :math:`p(x)` is the integral of the density over a unit cell. The guide draws y uniformly from
    the cell: what is known as dequantization is this program's ELBO.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        transforms: how many spline layers.
        hidden: widths of the networks that set the splines' knots.
        bins: pieces of each spline.
        coupling: faster sampling, in two passes a layer instead of one an entry, at some loss of fit.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Durkan, Bekasov, Murray and Papamakarios, *Neural Spline Flows*, 2019, arXiv:1906.04032; Theis, van
        den Oord and Bethge, *A note on the evaluation of generative models*, 2015, arXiv:1511.01844
        (dequantization as a bound).

    Example:
        >>> flow = NeuralSplineFlow((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob(np.zeros((1, 2))).kind
        'exact'
        >>> NeuralSplineFlow((2,), levels=3, hidden=(16,)).log_prob([[0, 2]], samples=4).kind
        'lower_bound'
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 3,
        hidden: tuple[int, ...] = (256, 256),
        bins: int = 8,
        coupling: bool = False,
        seed: int = 0,
    ) -> None:
        config = {
            "transforms": check_positive("transforms", transforms),
            "hidden": check_sizes("hidden", hidden),
            "bins": check_positive("bins", bins, least=2),
            "coupling": bool(coupling),
            "seed": seed,
        }
        objectives = ("likelihood",) if levels is None else ("elbo", "iwae")
        super().__init__(shape, levels, config, objectives)
        with seeded(seed):
            self.map = spline_map(
                self.dims, transforms=transforms, hidden=hidden, bins=bins, coupling=coupling
            )
        if self.levels is not None:
            self.loc.fill_(self.levels / 2)
            self.scale.fill_(self.levels / (2 * BOUND))
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: site ``x`` for continuous data, sites ``y`` and ``x = floor(y)`` for discrete data.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            if self.levels is None:
                return pyro.sample("x", self.density(), obs=x)  # (n, *shape)
            y = pyro.sample("y", self.density())  # (n, *shape)
            level = y.detach().floor().clamp(0, self.levels - 1)
            return pyro.sample("x", dist.Delta(level, event_dim=len(self.shape)), obs=x)

    def guide(self, x: Tensor) -> Tensor | None:
        """The guide: y is uniform in the cell of the levels ``x (n, *shape)``; continuous rows need none."""
        if self.levels is None:
            return None
        # In double precision: in single, x + u rounds up to x + 1 once in a million draws.
        corner = x.double()
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", dist.Uniform(corner, corner + 1).to_event(len(self.shape)))

    def density(self) -> PyroDistribution:
        """The distribution of one continuous row y, in the data's units."""
        return Flow(self.map(), self._base(), self.loc, self.scale)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values; the same seed gives the same rows."""
        return self._draw(n, seed, lambda size: self.model(n=size))

    def log_prob(self, x: Any, *, samples: int = 64, seed: int = 0) -> Likelihood:
        """The log density of each row of ``x (n, *shape)``: exact if continuous, a lower bound if discrete.

        Args:
            x: rows in the data's own values.
            samples: for discrete data, draws from each row's cell; 1 gives the ELBO, more a tighter bound.
            seed: seed of these draws.
        """
        if self.levels is not None:
            return self._bound(x, self.guide, samples, seed)
        values = self._score(x, self.density().log_prob)
        return Likelihood(values, "exact", self.space, self.dims, how="change of variables")

    def _base(self) -> PyroDistribution:
        if self.levels is None:
            return dist.Normal(self.loc.new_zeros(self.dims), 1.0).to_event(1)
        # Levels fill a box, which the splines map onto itself; a little slack takes up their rounding.
        edge = torch.full_like(self.loc.flatten(), BOUND + 1e-4)
        return dist.Uniform(-edge, edge).to_event(1)
