"""Predator and prey: the rates of an ordinary differential equation from noisy counts (Pyro)."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints

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
    rate = PositiveNormal(torch.tensor([1.0, 0.05, 1.0, 0.05]), torch.tensor([0.5, 0.05, 0.5, 0.05]))
    theta = pyro.sample("theta", rate.to_event(1))
    z_init = pyro.sample("z_init", dist.LogNormal(math.log(10.0), 1.0).expand([2]).to_event(1))
    sigma = pyro.sample("sigma", dist.LogNormal(-1.0, 1.0).expand([2]).to_event(1))

    growth = torch.stack([theta[0], -theta[2]])
    interaction = torch.stack([-theta[1], theta[3]])

    def slope(log_z: torch.Tensor) -> torch.Tensor:
        return growth + interaction * log_z.exp().flip(0)

    log_z, path = z_init.log(), []
    widths = torch.diff(ts, prepend=torch.zeros(1)) / steps
    for h in widths.repeat_interleave(steps):
        k1 = slope(log_z)
        k2 = slope(log_z + h / 2 * k1)
        k3 = slope(log_z + h / 2 * k2)
        k4 = slope(log_z + h * k3)
        log_z = log_z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(log_z)
    log_z = torch.stack(path)[steps - 1 :: steps]  # (T, 2)
    pyro.deterministic("z", log_z.exp())
    pyro.sample("y_init", dist.LogNormal(z_init.log(), sigma).to_event(1), obs=y_init)
    with pyro.plate("time", len(ts)):
        pyro.sample("y", dist.LogNormal(log_z, sigma).to_event(1), obs=y)


class PositiveNormal(dist.TorchDistribution):
    """A normal distribution cut off below 0, which Pyro does not bring along."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: torch.Tensor, scale: torch.Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> PositiveNormal:
        """The same distribution over a larger batch."""
        return PositiveNormal(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        """Draws by the quantile function of the mirrored distribution, whose tail is the small one."""
        above = torch.special.ndtr(self.loc / self.scale)  # the probability of being positive
        u = torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=above.dtype)
        return self.loc - self.scale * torch.special.ndtri(u * above)

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """The normal log density over the probability of being positive."""
        normal = dist.Normal(self.loc, self.scale)
        return normal.log_prob(value) - torch.special.log_ndtr(self.loc / self.scale)
