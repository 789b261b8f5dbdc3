"""What the models with a probability flow have in common: program, guide in the cells, density. (JAX.)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from jax.scipy.stats import truncnorm
from numpyro.distributions.transforms import AffineTransform

from ppgen.models.checks import check_name, check_number, check_positive
from ppgen.models.diffusion.family import DiffusionFamily
from ppgen.models.diffusion.levels import level_logits
from ppgen.models.diffusion.probability_flow import ProbabilityFlow, Velocity, flow_log_density, follow
from ppgen.program.likelihood import Likelihood

__all__ = ["FlowSampling", "ProbabilityFlowFamily", "Trace", "cell_noise"]

Trace = Literal["exact", "hutchinson"]

FEW = 16  # entries up to which the trace is exact by default
REPEATS = 8  # directions, or draws in the cell, by default
TOGETHER = 64  # rows that are followed side by side, each with steps of its own: all wait for the slowest
CELL_SPREAD = 0.125  # of the noise in a cell of width 1: its edges are 4 standard deviations away


def cell_noise(levels: int) -> float:
    """The standard deviation of the noise in a cell, where levels are spread over [-1, 1]."""
    return CELL_SPREAD * 2 / (levels - 1)


class ProbabilityFlowFamily(DiffusionFamily, ABC):
    r"""Noise follows a velocity field to data, :math:`\dot z = v_\theta(z, t)`; a member says which field.

    On the way, rows are :math:`z_t = \alpha_t x + \sigma_t \epsilon`; a member says what these are, too.

    The program samples continuous rows from that flow. Rows with levels are :math:`x = \lfloor y \rfloor` of
    such a row :math:`y = z_t / \alpha_t`, in the data's units, at the ``data_time``. The noise of that time
    is so weak that it hardly leaves a level's cell; the guide draws y with it, cut off at the edges of the
    cell, :math:`q(y \mid x) = TN(x + \frac12, s^2; x, x + 1)`.

    Args:
        data_time, noise_time: when rows are data, and when they are noise.
        noise_spread: the standard deviation of that noise.
        prediction: what the network tells. ``"levels"``: what it has learned from the other entries of an
            entry's level, which is multiplied by how likely each level makes the noisy entry itself; the
            velocity follows from the mean. Anything else is the member's own.
        others: those of :class:`DiffusionFamily`.

    References:
        Theis, van den Oord and Bethge, *A note on the evaluation of generative models*, 2015,
        arXiv:1511.01844 (dequantization as a bound); Zheng, Lu, Chen and Zhu, *Improved Techniques for
        Maximum Likelihood Estimation for Diffusion ODEs*, 2023, arXiv:2305.03935 (by a truncated Gaussian, so
        that the model trains on the levels themselves).
    """

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        config: Mapping[str, Any],
        objectives: tuple[str, ...],
        *,
        data_time: float,
        noise_time: float,
        noise_spread: float,
        prediction: str,
        **others: Any,
    ) -> None:
        objectives = (*objectives, "likelihood" if levels is None else "elbo")
        self.prediction = prediction
        outputs = 1 if levels is None or prediction != "levels" else levels
        config = {**config, "prediction": prediction}
        super().__init__(shape, levels, config, objectives, outputs=outputs, **others)
        self.data_time, self.noise_time, self.noise_spread = data_time, noise_time, noise_spread

    @abstractmethod
    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        r"""The share :math:`\alpha_t` of the data, and the spread :math:`\sigma_t` of the noise."""

    @abstractmethod
    def velocity(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """How fast standardised rows ``z (n, *shape)`` move at times ``t (n,)``.

        Args:
            z, t: the rows and the times.
            label: the class of each row ``(n,)``; ``None`` for "not told".
            guidance: how much of the class to show.
            key: for dropout, in training.
        """

    def told(self, out: jax.Array, z: jax.Array, alpha: jax.Array, sigma: jax.Array) -> jax.Array:
        """What outputs ``(n, *shape, outputs)`` say of rows ``z (n, *shape)``: logits, or one number."""
        if self.prediction == "levels":
            return out + level_logits(z, alpha, sigma, out.shape[-1])
        return out[..., 0]

    def random_times(self, key: jax.Array, n: int) -> jax.Array:
        """Times ``(n,)`` between data and noise, spread evenly."""
        return self.data_time + super().random_times(key, n) * (self.noise_time - self.data_time)

    def model(self, x: Any = None, n: int = 1, label: Any = None) -> Any:
        """The program: site ``x`` for continuous data, sites ``y`` and ``x = floor(y)`` for levels.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        family, n = self.registered(), n if x is None else len(x)
        with numpyro.plate("rows", n):
            if self.levels is None:
                return numpyro.sample("x", family.density(n, label), obs=x)
            y = numpyro.sample("y", family.density(n, label))  # (n, *shape)
            level = jnp.clip(jnp.floor(lax.stop_gradient(y)), 0, self.levels - 1).astype(int)
            return numpyro.sample("x", dist.Delta(level, event_dim=len(self.shape)), obs=x)

    def guide(self, x: Any, label: Any = None) -> Any:
        """The guide: y in the cell of the levels ``x (n, *shape)``; continuous rows need none."""
        if self.levels is None:
            return None
        corner = jnp.float32(x)
        with numpyro.plate("rows", len(x)):
            cell = dist.TruncatedNormal(corner + 0.5, CELL_SPREAD, low=corner, high=corner + 1)
            return numpyro.sample("y", cell.to_event(len(self.shape)))

    def density(self, n: int, label: Any = None, tolerance: float = 1e-4) -> dist.Distribution:
        """The distribution of n continuous rows in the data's units, of the classes ``label (n,)``."""

        def velocity(z: jax.Array, t: jax.Array, row: jax.Array) -> jax.Array:
            return self.velocity(z, t, None if label is None else label[row][None])

        flow = ProbabilityFlow(
            velocity,
            n,
            self.shape,
            spread=self.noise_spread,
            data_time=self.data_time,
            noise_time=self.noise_time,
            tolerance=tolerance,
        )
        loc, scale = self.units
        return dist.TransformedDistribution(flow, AffineTransform(loc, scale))

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
        """The log density of each row of ``x (n, *shape)`` by the probability flow.

        For continuous rows it is an estimate: as good as the solver's tolerance with an exact trace, and with
        Hutchinson's random one also noisy, without bias. For levels it is the ELBO, a lower bound, with noise
        from the draws in each row's cell.

        Args:
            x: rows in the data's own values.
            label: the class of each row, for a density given the class; by default classes are summed out.
            samples: random directions of the trace, or draws in each row's cell.
            seed: of these.
            trace: ``"exact"`` or ``"hutchinson"``; by default exact for up to 16 entries.
            tolerance: of each step of the solver, relative and absolute.
            looser: whether to do it all again with ten times that tolerance, for less than the same cost. How
                far the mean moves stands in ``how``; the solver's own error is about a tenth of that.
            progress: show a progress bar.
        """
        trace = trace or ("exact" if self.dims <= FEW else "hutchinson")
        exact = check_name("trace", trace, get_args(Trace)) == "exact"
        score = _Score(check_positive("samples", samples), exact, check_number("tolerance", tolerance))
        how = f"probability flow, solver tolerance {tolerance:g}, {trace} trace"
        check_positive("seed", seed, least=0)
        found = self._by_flow(x, label, score, seed, how, progress)
        if not looser:
            return found
        again = self._by_flow(x, label, replace(score, tolerance=10 * score.tolerance), seed, how, progress)
        moved = again.mean() - found.mean()
        return replace(
            found, how=f"{found.how}; with 10 times the tolerance the mean moves by {moved:+.2g} nats"
        )

    def _by_flow(self, x: Any, label: Any, score: _Score, seed: int, how: str, progress: bool) -> Likelihood:
        samples, passes = score.samples, {"together": TOGETHER, "progress": progress}
        if self.levels is not None:
            if samples < 2:
                check_positive("samples", samples, least=2)
            values, stderr = self._mean_score(x, score, label, seed, **passes)
            how = f"{how}; ELBO of truncated-normal dequantization, {samples} draws"
            return Likelihood(values, "lower_bound", self.space, self.dims, how, stderr)
        values, stderr = self._estimate(x, score, label, seed, **passes)
        if score.exact:
            return Likelihood(values, "estimate", self.space, self.dims, how)
        return Likelihood(values, "estimate", self.space, self.dims, f"{how}, {samples} directions", stderr)

    @property
    def units(self) -> tuple[Any, Any]:
        """Location and scale, in the data's units, of the continuous rows at the time of data."""
        share = self.strength(jnp.float32(self.data_time))[0]
        if self.levels is None:
            return jnp.asarray(self.loc), jnp.asarray(self.scale) / share
        half = (self.levels - 1) / 2  # level k is the middle of the cell [k, k + 1)
        return jnp.full(self.shape, half + 0.5), jnp.full(self.shape, half) / share

    def in_data_units(self, z: jax.Array) -> jax.Array:
        """Standardised rows ``(n, *shape)`` in the data's own values."""
        loc, scale = self.units
        y = loc + scale * z
        return y if self.levels is None else jnp.clip(jnp.floor(y), 0, self.levels - 1)

    def _velocity_of_row(self, label: Any, guidance: float = 1.0) -> Velocity:
        told = None if label is None else label[None]
        return lambda row, t: self.velocity(row[None], jnp.reshape(t, (1,)), told, guidance)[0]

    def _estimate(
        self, x: Any, score: Any, label: Any, seed: int, **passes: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Estimates of each row's log density, and their standard errors, each ``(n,)``."""
        draws, log_weights = self._noisy_scores(x, score, label, seed, **passes)
        values = draws.mean(-1)
        count = draws.shape[-1]
        stderr = draws.std(-1, ddof=1) / np.sqrt(count) if count > 1 else np.full(values.shape, np.nan)
        if log_weights is None:
            return values, stderr
        each = values + log_weights[..., 0]
        total = np.logaddexp.reduce(each, axis=0)
        # The directions are the same for all classes, so that the errors add up.
        return total, (np.exp(each - total) * stderr).sum(0)


@dataclass(frozen=True)
class FlowSampling:
    """Rows by the probability flow."""

    guidance: float
    tolerance: float

    def __call__(
        self, family: ProbabilityFlowFamily, key: jax.Array, size: int, label: Any = None
    ) -> jax.Array:
        """Rows ``(size, *shape)`` in the data's own values."""
        noise = family.noise_spread * jax.random.normal(key, (size, *family.shape))

        def one(z: jax.Array, label: Any) -> jax.Array:
            velocity = family._velocity_of_row(label, self.guidance)
            return follow(velocity, z, family.noise_time, family.data_time, self.tolerance)

        return family.in_data_units(jax.vmap(one, in_axes=(0, None if label is None else 0))(noise, label))


@dataclass(frozen=True)
class _Score:
    """Log densities of rows: one an exact row ``(n, 1)``, or one a direction or a draw ``(n, samples)``."""

    samples: int
    exact: bool
    tolerance: float

    def __call__(
        self, family: ProbabilityFlowFamily, x: jax.Array, seeds: jax.Array, label: Any = None
    ) -> jax.Array:
        shape = family.shape
        noise = dist.Normal(jnp.zeros(shape), family.noise_spread).to_event(len(shape))
        loc, scale = family.units
        log_scale = jnp.log(jnp.broadcast_to(scale, shape)).sum()

        def density(row: jax.Array, label: Any, directions: jax.Array | None) -> jax.Array:
            return flow_log_density(
                family._velocity_of_row(label),
                row,
                noise.log_prob,
                family.data_time,
                family.noise_time,
                directions=directions,
                tolerance=self.tolerance,
            )

        def of_row(row: jax.Array, seed: jax.Array, label: Any) -> jax.Array:
            cell_key, sign_key = jax.random.split(jax.random.key(seed))
            signs = None
            if not self.exact:
                signs = jax.random.rademacher(sign_key, (self.samples, *shape), jnp.float32)
            if family.levels is None:
                return jnp.atleast_1d(density((row - loc) / scale, label, signs))

            def in_the_cell(i: jax.Array) -> jax.Array:
                edge = 0.5 / CELL_SPREAD
                u = jax.random.truncated_normal(jax.random.fold_in(cell_key, i), -edge, edge, shape)
                log_q = (truncnorm.logpdf(u, -edge, edge) - jnp.log(CELL_SPREAD)).sum()
                z = (row + 0.5 + CELL_SPREAD * u - loc) / scale
                return jnp.atleast_1d(density(z, label, None if signs is None else signs[i][None]))[0] - log_q

            return lax.map(in_the_cell, jnp.arange(self.samples))

        return jax.vmap(of_row, in_axes=(0, 0, None if label is None else 0))(x, seeds, label) - log_scale
