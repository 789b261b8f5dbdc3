"""The probability flow: a velocity field from noise to data, and its density. (JAX.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

__all__ = ["ProbabilityFlow", "Velocity", "flow_log_density", "follow"]

Velocity = Callable[[jax.Array, jax.Array], jax.Array]
"""From one example and a time ``()`` to its velocity, of the same shape."""

MOST_STEPS = 10_000


def follow(velocity: Velocity, x: jax.Array, begin: float, end: float, tolerance: float = 1e-5) -> jax.Array:
    r"""Solve :math:`\dot x = v(x, t)` for one example, and return its end point.

    Args:
        velocity: the field v.
        x: one example, of any shape, at the beginning.
        begin, end: the times; the end may come first.
        tolerance: of each step of the solver, relative and absolute.

    References:
        Kidger, *On Neural Differential Equations*, 2021, arXiv:2202.02435 (diffrax); Tsitouras, *Runge–Kutta
        pairs of order 5(4)*, 2011.

    Example:
        >>> [round(float(entry), 3) for entry in follow(lambda x, t: -x, jnp.array([1.0, 2.0]), 0.0, 1.0)]
        [0.368, 0.736]
    """
    return _solve(lambda t, row, _: velocity(row, t), x, begin, end, tolerance)


def flow_log_density(
    velocity: Velocity,
    x: jax.Array,
    base: Callable[[jax.Array], jax.Array],
    begin: float,
    end: float,
    *,
    directions: jax.Array | None = None,
    tolerance: float = 1e-5,
) -> jax.Array:
    r"""The log density of one example under the flow of any velocity field.

    .. math:: \log p(x) = \log p_{base}(x(T)) + \int_0^T \mathrm{tr} \frac{\partial v}{\partial x} \, dt,
        \qquad \dot x = v(x, t), \quad x(0) = x

    For a diffusion :math:`dz = f z \, dt + g \, dw` the velocity is :math:`f z - \frac12 g^2 s(z, t)`, with
    s the score.

    Args:
        velocity: the field v.
        x: one row, of any shape.
        base: the log density of the end point.
        begin: the time of data.
        end: the time of noise, which may be the earlier one.
        directions: random directions ``(k, *shape)`` of independent signs, along which the trace is estimated
            without bias (Hutchinson); by default it is exact, at the cost of a derivative per entry.
        tolerance: of each step of the solver, relative and absolute.

    Returns:
        One log density ``()``; or an estimate for each direction ``(k,)``.

    References:
        Song et al., *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020,
        arXiv:2011.13456, section 4.3; Chen et al., *Neural Ordinary Differential Equations*, 2018,
        arXiv:1806.07366; Hutchinson, *A stochastic estimator of the trace of the influence matrix*, 1989.

    Example:
        >>> normal = lambda z: dist.Normal(0, 1).log_prob(z).sum()
        >>> shrinking = lambda x, t: -x  # data are e times as wide as the noise
        >>> round(float(flow_log_density(shrinking, jnp.zeros(1), normal, 0.0, 1.0)), 3)
        -1.919
    """
    along = jnp.eye(x.size).reshape(-1, *x.shape) if directions is None else directions

    def rates(t: jax.Array, state: tuple[jax.Array, jax.Array], _: Any) -> tuple[jax.Array, jax.Array]:
        move, derivative = jax.linearize(lambda row: velocity(row, t), state[0])
        slopes = jax.vmap(lambda direction: (direction * derivative(direction)).sum())(along)
        return move, slopes.sum() if directions is None else slopes

    nothing = jnp.zeros(()) if directions is None else jnp.zeros(len(along))
    row, volume = _solve(rates, (x, nothing), begin, end, tolerance)
    return base(row) + volume


class ProbabilityFlow(dist.Distribution):
    r"""Normal noise that has followed a velocity field; the density by :func:`flow_log_density`, trace exact.

    Args:
        velocity: of the row of an index ``()``.
        rows: how many.
        shape: the shape of one example.
        spread: the standard deviation of the noise.
        data_time, noise_time: when rows are data, and when noise.
        tolerance: of the solver.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ()
    pytree_aux_fields = ("velocity", "spread", "data_time", "noise_time", "tolerance")

    def __init__(
        self,
        velocity: Callable[[jax.Array], Velocity],
        rows: int,
        shape: tuple[int, ...],
        *,
        spread: float,
        data_time: float,
        noise_time: float,
        tolerance: float,
    ) -> None:
        self.velocity, self.spread, self.tolerance = velocity, spread, tolerance
        self.data_time, self.noise_time = data_time, noise_time
        super().__init__((rows,), shape)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        """All rows of real numbers."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw rows ``(*sample_shape, n, *shape)``."""
        noise = self.spread * jax.random.normal(key, (*sample_shape, *self.batch_shape, *self.event_shape))
        place = jnp.broadcast_to(jnp.arange(self.batch_shape[0]), noise.shape[: noise.ndim - self.event_dim])

        def one(z: jax.Array, i: jax.Array) -> jax.Array:
            return follow(self.velocity(i), z, self.noise_time, self.data_time, self.tolerance)

        flat = noise.reshape(-1, *self.event_shape)
        return jax.vmap(one)(flat, place.reshape(-1)).reshape(noise.shape)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log density of each example ``(n,)``."""
        base = dist.Normal(jnp.zeros(self.event_shape), self.spread).to_event(self.event_dim)

        def one(x: jax.Array, i: jax.Array) -> jax.Array:
            return flow_log_density(
                self.velocity(i),
                x,
                base.log_prob,
                self.data_time,
                self.noise_time,
                tolerance=self.tolerance,
            )

        return jax.vmap(one)(value, jnp.arange(self.batch_shape[0]))


def _solve(rates: Any, state: Any, begin: float, end: float, tolerance: float) -> Any:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(rates),
        diffrax.Tsit5(),
        t0=jnp.asarray(begin, float),
        t1=jnp.asarray(end, float),
        dt0=None,
        y0=state,
        stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        max_steps=MOST_STEPS,
    )
    return jax.tree.map(lambda values: values[-1], solution.ys)
