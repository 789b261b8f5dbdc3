r"""What a guide is fitted to: bounds on the log evidence, and how much each draw counts in their gradients.

With log weights :math:`\log w_k = \log \pi(z_k) - \log q_\phi(z_k)` of K draws :math:`z_k = f_\phi(u_k)`,
every gradient here has the form

.. math:: \sum_k c_k \, (\partial \log w_k / \partial z_k) \, (\partial z_k / \partial \phi),

the path through the draws alone, whose noise vanishes as q becomes the posterior.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["Objective", "ObjectiveName", "bound", "coefficients", "make_objective"]

ObjectiveName = Literal["elbo", "iwae", "renyi", "wake"]


class Objective(NamedTuple):
    """A bound, with the number of draws that it groups and the order of Rényi's divergence."""

    name: ObjectiveName
    particles: int
    alpha: float

    @property
    def order(self) -> float:
        """Rényi's α: 1 is the ELBO, 0 the importance-weighted bound."""
        return {"elbo": 1.0, "iwae": 0.0, "wake": 0.0}.get(self.name, self.alpha)

    @property
    def cites(self) -> tuple[str, ...]:
        """Keys of :mod:`ppgen.inference.citations`."""
        by_name: dict[str, tuple[str, ...]] = {
            "elbo": ("stl",),
            "iwae": ("iwae", "dreg"),
            "renyi": ("renyi", "dreg"),
            "wake": ("rws", "rws_revisited", "dreg"),
        }
        return by_name[self.name]


def make_objective(name: str, particles: int, alpha: float) -> Objective:
    """Check an objective and its options.

    Raises:
        UnknownName: if there is none of that name.
        InvalidArgument: if ``particles`` or ``alpha`` cannot be.
    """
    if name not in get_args(ObjectiveName):
        raise UnknownName("objective", name, get_args(ObjectiveName))
    if particles < 2 and name != "elbo":
        raise InvalidArgument(
            "particles", got=str(particles), expected="at least 2 draws to weight", fix="Write particles=8."
        )
    if not 0 <= alpha < 1:
        raise InvalidArgument(
            "alpha",
            got=str(alpha),
            expected="a number from 0 to less than 1",
            fix='Write alpha=0.5; α = 1 is objective="elbo".',
        )
    return Objective(name, 1 if name == "elbo" else particles, alpha)  # type: ignore[arg-type]


def coefficients(objective: Objective, log_weights: jax.Array) -> jax.Array:
    r"""How much the path derivative of each draw counts in the gradient of the objective.

    With :math:`\tilde w = \mathrm{softmax}((1 - \alpha) \log w)` over a group of K draws, the doubly
    reparameterised gradient of Rényi's bound has :math:`c = \alpha \tilde w + (1 - \alpha) \tilde w^2`:
    1/K at α = 1, which is sticking the landing, and :math:`\tilde w^2` at α = 0, the importance-weighted
    bound. The wake-phase update of reweighted wake-sleep has :math:`c = \tilde w - \tilde w^2`.

    Args:
        objective: what is fitted.
        log_weights: ``(draws,)``, a multiple of ``objective.particles``.

    Returns:
        ``(draws,)``, for the mean over groups.

    References:
        Roeder, Wu and Duvenaud, *Sticking the Landing*, arXiv:1703.09194; Burda et al., arXiv:1509.00519;
        Li and Turner, *Rényi Divergence Variational Inference*, arXiv:1602.02311; Bornschein and Bengio,
        *Reweighted Wake-Sleep*, arXiv:1406.2751; Le et al., arXiv:1805.10469; Tucker et al., *Doubly
        Reparameterized Gradient Estimators*, arXiv:1810.04152.

    Example:
        >>> coefficients(Objective("elbo", 1, 0.0), jnp.zeros(4)).tolist()
        [0.25, 0.25, 0.25, 0.25]
        >>> coefficients(Objective("iwae", 2, 0.0), jnp.zeros(4)).tolist()
        [0.125, 0.125, 0.125, 0.125]
    """
    if objective.name == "elbo":
        return jnp.full(log_weights.shape, 1 / len(log_weights))
    alpha, groups = objective.order, log_weights.reshape(-1, objective.particles)
    finite = jnp.where(jnp.isfinite(groups), groups, jnp.finfo(groups.dtype).min)
    shares = jax.nn.softmax((1 - alpha) * finite, axis=1)
    within = shares - shares**2 if objective.name == "wake" else alpha * shares + (1 - alpha) * shares**2
    return within.ravel() / len(groups)


def bound(objective: Objective, log_weights: np.ndarray) -> np.ndarray:
    r"""The bound of each group of draws, in nats; their mean estimates the bound.

    .. math:: \frac{1}{1 - \alpha} \log \frac1K \sum_k w_k^{1 - \alpha}

    and :math:`\log w` for the ELBO. The wake phase minimises another divergence; it is followed by the
    importance-weighted bound.

    Args:
        objective: what is fitted.
        log_weights: ``(draws,)``.

    Returns:
        ``(draws // particles,)``.

    Example:
        >>> log_weights = np.log([1.0, 3.0, 2.0, 2.0])
        >>> np.exp(bound(Objective("iwae", 2, 0.0), log_weights)).round(6).tolist()
        [2.0, 2.0]
    """
    size = objective.particles
    groups = log_weights[: len(log_weights) // size * size].reshape(-1, size)
    if objective.name == "elbo":
        return groups[:, 0]
    alpha = objective.order
    return (logsumexp((1 - alpha) * groups, axis=1) - np.log(size)) / (1 - alpha)
