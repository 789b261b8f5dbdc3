"""Predator and prey: the rates of an ordinary differential equation from noisy counts (NumPyro)."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["lotka_volterra"]


def lotka_volterra(ts: Any, y_init: Any = None, y: Any = None, steps: int = 8) -> None:
    r"""The Lotka–Volterra equations of a prey population u and its predators v, observed with noise.

    .. math::
        \frac{du}{dt} = (\theta_1 - \theta_2 v) u, \quad \frac{dv}{dt} = (-\theta_3 + \theta_4 u) v, \quad
        y_t \sim \mathrm{LogNormal}(\log (u, v)(t), \sigma)

    with :math:`\theta_1, \theta_3 \sim N^+(1, 0.5)`, :math:`\theta_2, \theta_4 \sim N^+(0.05, 0.05)`,
    :math:`z_\mathrm{init} \sim \mathrm{LogNormal}(\log 10, 1)` for :math:`(u, v)(0)` and
    :math:`\sigma \sim \mathrm{LogNormal}(-1, 1)`. Carpenter's case study "Predator-Prey Population Dynamics"
    (2018). The equations are solved for :math:`(\log u, \log v)`, which cannot leave the positive
    populations, by Runge–Kutta steps of order 4.

    Args:
        ts: ``(T,)`` increasing times of observation, the start being time 0.
        y_init: ``(2,)`` prey and predators at time 0; ``None`` to simulate them.
        y: ``(T, 2)`` prey and predators at ``ts``; ``None`` to simulate them.
        steps: Runge–Kutta steps between two observations. The error of the log density falls with the
            fourth power: on twenty years of hares and lynxes it is 0.0001 nats with 8.

    Example:
        >>> import numpy as np
        >>> from scipy.integrate import solve_ivp
        >>> from ppgen.program import read_density
        >>> data = {"ts": [1.0, 2.0], "y_init": [30.0, 4.0], "y": [[47.0, 6.0], [70.0, 10.0]]}
        >>> density = read_density(lotka_volterra, data)
        >>> values = {"theta": [0.5, 0.03, 0.8, 0.02], "z_init": [33.0, 6.0], "sigma": [0.3, 0.3]}
        >>> solved = density.constrain(density.unconstrain(values))["z"]
        >>> def slope(t, z):
        ...     return (0.5 - 0.03 * z[1]) * z[0], (-0.8 + 0.02 * z[0]) * z[1]
        >>> exact = solve_ivp(slope, (0, 2), values["z_init"], t_eval=data["ts"], rtol=1e-8).y.T
        >>> bool(np.allclose(solved, exact, rtol=1e-5))
        True
    """
    rate = dist.TruncatedNormal(jnp.array([1.0, 0.05, 1.0, 0.05]), jnp.array([0.5, 0.05, 0.5, 0.05]), low=0.0)
    theta = numpyro.sample("theta", rate.to_event(1))
    z_init = numpyro.sample("z_init", dist.LogNormal(math.log(10.0), 1.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.LogNormal(-1.0, 1.0).expand([2]).to_event(1))

    growth = jnp.stack([theta[0], -theta[2]])
    interaction = jnp.stack([-theta[1], theta[3]])

    def slope(log_z: jax.Array) -> jax.Array:
        return growth + interaction * jnp.exp(log_z)[::-1]

    def step(log_z: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        k1 = slope(log_z)
        k2 = slope(log_z + h / 2 * k1)
        k3 = slope(log_z + h / 2 * k2)
        k4 = slope(log_z + h * k3)
        log_z = log_z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return log_z, log_z

    widths = jnp.repeat(jnp.diff(ts, prepend=0.0) / steps, steps)
    _, path = jax.lax.scan(step, jnp.log(z_init), widths)
    log_z = path[steps - 1 :: steps]  # (T, 2)
    numpyro.deterministic("z", jnp.exp(log_z))
    numpyro.sample("y_init", dist.LogNormal(jnp.log(z_init), sigma).to_event(1), obs=y_init)
    with numpyro.plate("time", len(ts)):
        numpyro.sample("y", dist.LogNormal(log_z, sigma).to_event(1), obs=y)
