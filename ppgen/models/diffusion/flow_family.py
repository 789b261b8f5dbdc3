"""The base of the models with a probability flow: program, guide in the cells, density."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from numpyro.distributions.transforms import AffineTransform

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.kernels.monte_carlo import standard_error
from ppgen.models.diffusion.family import DiffusionFamily
from ppgen.models.diffusion.gaussian_noise import GaussianNoise
from ppgen.models.diffusion.probability_flow import ProbabilityFlow, Velocity, flow_log_density
from ppgen.program.likelihood import Likelihood

__all__ = ["FlowProgram", "ProbabilityFlowFamily", "Trace", "cell_noise", "flow_rows"]

Trace = Literal["exact", "hutchinson"]

FEW = 16  # entries up to which the trace is exact by default
REPEATS = 8  # directions, or draws in the cell, by default
TOGETHER = 64  # examples solved at once, each with its own steps: all wait for the slowest
CELL_SPREAD = 0.125  # of the noise in a cell of width 1: its edges are 4 standard deviations away


def cell_noise(levels: int) -> float:
    """The standard deviation of the noise in a cell, where levels are spread over [-1, 1]."""
    return CELL_SPREAD * 2 / (levels - 1)


class FlowProgram(GaussianNoise):
    r"""Noise follows a velocity field to data, :math:`\dot z = v_\theta(z, t)`; a subclass says which.

    The program samples continuous data from that flow. Data with levels are :math:`x = \lfloor y \rfloor` of
    such a row :math:`y = z_t / \alpha_t`, in the data's units, at the ``data_time``. The noise of that time
    is so weak that it hardly leaves a level's cell; the guide draws y with it, cut off at the edges of the
    cell, :math:`q(y \mid x) = TN(x + \frac12, s^2; x, x + 1)`.

    Attributes:
        data_time, noise_time: when rows are data, and when they are noise.
        noise_spread: the standard deviation of that noise.

    References:
        Theis, van den Oord and Bethge, *A note on the evaluation of generative models*, 2015,
        arXiv:1511.01844 (dequantization as a bound); Zheng, Lu, Chen and Zhu, *Improved Techniques for
        Maximum Likelihood Estimation for Diffusion ODEs*, 2023, arXiv:2305.03935 (by a truncated Gaussian, so
        that the model trains on the levels themselves).
    """

    data_time: float = eqx.field(static=True)
    noise_time: float = eqx.field(static=True)
    noise_spread: float = eqx.field(static=True)

    @abstractmethod
    def velocity(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The velocity of standardised data ``z (n, *shape)`` at times ``t (n,)``.

        Args:
            z, t: the data and the times.
            label: the class of each example ``(n,)``; ``None`` for the unconditional model.
            guidance: the weight of the class.
            key: for dropout, in training.
        """

    def random_times(self, key: jax.Array, n: int) -> jax.Array:
        """Times ``(n,)`` between data and noise, spread evenly."""
        return self.data_time + super().random_times(key, n) * (self.noise_time - self.data_time)

    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: site ``x`` for continuous data, sites ``y`` and ``x = floor(y)`` for levels.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        program, n = self.registered(), n if x is None else len(x)
        with numpyro.plate("rows", n):
            if self.levels is None:
                return numpyro.sample("x", program.density(n, label), obs=x)
            y = numpyro.sample("y", program.density(n, label))  # (n, *shape)
            level = self.to_values(lax.stop_gradient(y)).astype(int)
            return numpyro.sample("x", dist.Delta(level, event_dim=len(self.shape)), obs=x)

    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: y in the cell of the levels ``x (n, *shape)``; continuous data need none."""
        if self.levels is None:
            return None
        with numpyro.plate("rows", len(x)):
            return numpyro.sample("y", self.cell(x))

    def cell(self, x: jax.Array) -> dist.Distribution:
        """Continuous data of levels ``x (..., *shape)``: weak noise on them, cut off at the edges."""
        corner = jnp.float32(x)
        noisy = dist.TruncatedNormal(corner + 0.5, CELL_SPREAD, low=corner, high=corner + 1)
        return noisy.to_event(len(self.shape))

    def density(
        self, n: int, label: Any = None, tolerance: float = 1e-4, guidance: float = 1.0
    ) -> dist.Distribution:
        """The distribution of n continuous data in the data's units, of the classes ``label (n,)``."""
        flow = ProbabilityFlow(
            lambda i: self.velocity_of_row(None if label is None else label[i], guidance),
            n,
            self.shape,
            spread=self.noise_spread,
            data_time=self.data_time,
            noise_time=self.noise_time,
            tolerance=tolerance,
        )
        return dist.TransformedDistribution(flow, AffineTransform(*self.units))

    @property
    def units(self) -> tuple[Any, Any]:
        """Location and scale, in the data's units, of the continuous data at the time of data."""
        share = self.strength(jnp.float32(self.data_time))[0]
        if self.levels is None:
            return jnp.asarray(self.loc), jnp.asarray(self.scale) / share
        half = (self.levels - 1) / 2  # level k is the middle of the cell [k, k + 1)
        return jnp.full(self.shape, half + 0.5), jnp.full(self.shape, half) / share

    def to_values(self, y: jax.Array) -> jax.Array:
        """Continuous data ``(n, *shape)`` in the data's units as the data have them: floats, or levels."""
        return y if self.levels is None else jnp.clip(jnp.floor(y), 0, self.levels - 1)

    def velocity_of_row(self, label: Any, guidance: float = 1.0) -> Velocity:
        """The velocity of one row of a class ``()``."""
        labels = None if label is None else label[None]
        return lambda row, t: self.velocity(row[None], jnp.reshape(t, (1,)), labels, guidance)[0]


class ProbabilityFlowFamily(DiffusionFamily):
    """A family whose program is a :class:`FlowProgram`."""

    def log_prob(
        self,
        x: Any,
        *,
        label: Any = None,
        samples: int = REPEATS,
        seed: int = 0,
        trace: Trace | None = None,
        tolerance: float = 1e-5,
        looser: bool = False,
        progress: bool = False,
    ) -> Likelihood:
        """The log density of each example of ``x (n, *shape)`` by the probability flow.

        For continuous data it is an estimate: with an exact trace as accurate as the solver's tolerance, and
        with Hutchinson's random trace also noisy, without bias. For levels it is the ELBO, a lower bound,
        with noise from the draws in each example's cell.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a density given the class; by default classes are
                marginalised.
            samples: random directions of the trace, or draws in each example's cell.
            seed: of these.
            trace: ``"exact"`` or ``"hutchinson"``; by default exact for up to 16 entries.
            tolerance: of each step of the solver, relative and absolute.
            looser: whether to repeat the computation with ten times that tolerance, at less than the same
                cost. ``how`` reports how far the mean moves; the solver's own error is about a tenth of that.
            progress: show a progress bar.
        """
        trace = trace or ("exact" if self.dims <= FEW else "hutchinson")
        exact = check_choice("trace", trace, get_args(Trace)) == "exact"
        # Levels have a standard error from at least two draws in each example's cell.
        settings = {
            "samples": check_integer("samples", samples, least=1 if self.levels is None else 2),
            "exact": exact,
            "tolerance": check_number("tolerance", tolerance, above=0.0, example=1e-5),
        }
        how = f"probability flow, solver tolerance {tolerance:g}, {trace} trace"
        check_integer("seed", seed, least=0)
        found = self._by_flow(x, label, seed, how, progress, settings)
        if not looser:
            return found
        settings["tolerance"] *= 10
        again = self._by_flow(x, label, seed, how, progress, settings)
        moved = again.mean() - found.mean()
        return replace(
            found, how=f"{found.how}; with 10 times the tolerance the mean moves by {moved:+.2g} nats"
        )

    def _by_flow(
        self, x: Any, label: Any, seed: int, how: str, progress: bool, settings: Mapping[str, Any]
    ) -> Likelihood:
        samples, passes = settings["samples"], {"together": TOGETHER, "progress": progress}
        if self.levels is not None:
            values, stderr = self._mean_score(x, _flow_scores, label, seed, passes=passes, **settings)
            how = f"{how}; ELBO of truncated-normal dequantization, {samples} draws"
            return Likelihood(values, "lower_bound", self.space, self.dims, how, stderr)
        values, stderr = self._estimate(x, label, seed, passes=passes, **settings)
        if settings["exact"]:
            return Likelihood(values, "estimate", self.space, self.dims, how)
        return Likelihood(values, "estimate", self.space, self.dims, f"{how}, {samples} directions", stderr)

    def _estimate(self, x: Any, label: Any, seed: int, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
        """Estimates of each example's log density, and their standard errors, each ``(n,)``."""
        draws, log_weights = self._noisy_scores(x, _flow_scores, label, seed, **settings)
        values, stderr = draws.mean(-1), standard_error(draws)
        if log_weights is None:
            return values, stderr
        each = values + log_weights[..., 0]
        total = np.logaddexp.reduce(each, axis=0)
        # The directions are the same for all classes, so that the errors add up.
        return total, (np.exp(each - total) * stderr).sum(0)


@eqx.filter_jit
def flow_rows(
    program: FlowProgram, key: jax.Array, size: int, label: Any = None, *, guidance: float, tolerance: float
) -> jax.Array:
    """Rows ``(size, *shape)`` in the data's own values, by the probability flow."""
    return program.to_values(program.density(size, label, tolerance, guidance).sample(key))


@eqx.filter_jit
def _flow_scores(
    program: FlowProgram,
    x: jax.Array,
    seeds: jax.Array,
    label: Any = None,
    *,
    samples: int,
    exact: bool,
    tolerance: float,
) -> jax.Array:
    """Log densities of rows: one an exact row ``(n, 1)``, or one per direction or a draw ``(n, samples)``."""
    shape = program.shape
    noise = dist.Normal(jnp.zeros(shape), program.noise_spread).to_event(len(shape))
    loc, scale = program.units
    log_scale = jnp.log(jnp.broadcast_to(scale, shape)).sum()

    def density(row: jax.Array, label: Any, directions: jax.Array | None) -> jax.Array:
        return flow_log_density(
            program.velocity_of_row(label),
            row,
            noise.log_prob,
            program.data_time,
            program.noise_time,
            directions=directions,
            tolerance=tolerance,
        )

    def of_row(row: jax.Array, seed: jax.Array, label: Any) -> jax.Array:
        cell_key, sign_key = jax.random.split(jax.random.key(seed))
        signs = None if exact else jax.random.rademacher(sign_key, (samples, *shape), jnp.float32)
        if program.levels is None:
            return jnp.atleast_1d(density((row - loc) / scale, label, signs))
        cell = program.cell(row)

        def in_the_cell(i: jax.Array) -> jax.Array:
            y = cell.sample(jax.random.fold_in(cell_key, i))
            along = None if signs is None else signs[i][None]
            return jnp.atleast_1d(density((y - loc) / scale, label, along))[0] - cell.log_prob(y)

        return lax.map(in_the_cell, jnp.arange(samples))

    return jax.vmap(of_row, in_axes=(0, 0, None if label is None else 0))(x, seeds, label) - log_scale
