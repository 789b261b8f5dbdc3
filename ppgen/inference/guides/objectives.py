r"""What a guide is fitted to: bounds on the log evidence, and how much each draw counts in their gradients.

With log weights :math:`\log w_k = \log \pi(z_k) - \log q_\phi(z_k)` of K draws :math:`z_k = f_\phi(u_k)`,
every gradient here has the form

.. math:: \sum_k c_k \, (\partial \log w_k / \partial z_k) \, (\partial z_k / \partial \phi),

the path through the draws alone, whose noise vanishes as q becomes the posterior.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from ppgen.checks import check_choice, check_integer, check_number

__all__ = ["OBJECTIVES", "Bound", "make_bound"]

OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "elbo": ("stl",),
    "iwae": ("iwae", "dreg"),
    "renyi": ("renyi", "dreg"),
    "wake_sleep": ("rws", "rws_revisited", "dreg"),
}
"""What each is cited by: keys of :mod:`ppgen.inference.citations`."""


def make_bound(objective: str, particles: int, alpha: float) -> Bound:
    """A bound by the name of the objective, its options checked.

    Raises:
        UnknownName: if there is none of that name.
        InvalidArgument: if ``particles`` or ``alpha`` is out of range.
    """
    check_choice("objective", objective, OBJECTIVES)
    check_integer("particles", particles, least=1 if objective == "elbo" else 2, example=8)
    check_number("alpha", alpha, least=0.0, below=1.0, example=0.5)
    return Bound(objective, 1 if objective == "elbo" else particles, alpha)


class Bound(NamedTuple):
    """A lower bound of the log evidence.

    Attributes:
        objective: its name among the ``OBJECTIVES``.
        particles: how many draws it groups.
        alpha: the order of Rényi's divergence, for Rényi's bound.
    """

    objective: str
    particles: int
    alpha: float

    @property
    def order(self) -> float:
        """Rényi's α: 1 is the ELBO, 0 the importance-weighted bound."""
        return {"elbo": 1.0, "renyi": self.alpha}.get(self.objective, 0.0)

    @property
    def cites(self) -> tuple[str, ...]:
        """Keys of :mod:`ppgen.inference.citations`."""
        return OBJECTIVES[self.objective]

    def groups(self, draws: int) -> int:
        """How many whole groups come nearest to a number of draws."""
        return max(1, round(draws / self.particles))

    def coefficients(self, log_weights: jax.Array) -> jax.Array:
        r"""How much the path derivative of each draw counts in the gradient of the objective.

        With :math:`\tilde w = \mathrm{softmax}((1 - \alpha) \log w)` over a group of K draws, the doubly
        reparameterised gradient of Rényi's bound has :math:`c = \alpha \tilde w + (1 - \alpha) \tilde w^2`:
        1/K at α = 1, which is sticking the landing, and :math:`\tilde w^2` at α = 0, the importance-weighted
        bound. The wake-phase update of reweighted wake-sleep has :math:`c = \tilde w - \tilde w^2`.

        Args:
            log_weights: ``(draws,)``, a multiple of ``particles``.

        Returns:
            ``(draws,)``, for the mean over groups.

        References:
            Roeder, Wu and Duvenaud, *Sticking the Landing*, arXiv:1703.09194; Burda et al., arXiv:1509.00519;
            Li and Turner, *Rényi Divergence Variational Inference*, arXiv:1602.02311; Bornschein and Bengio,
            *Reweighted Wake-Sleep*, arXiv:1406.2751; Le et al., arXiv:1805.10469; Tucker et al., *Doubly
            Reparameterized Gradient Estimators*, arXiv:1810.04152.

        Example:
            >>> Bound("elbo", 1, 0.0).coefficients(jnp.zeros(4)).tolist()
            [0.25, 0.25, 0.25, 0.25]
            >>> Bound("iwae", 2, 0.0).coefficients(jnp.zeros(4)).tolist()
            [0.125, 0.125, 0.125, 0.125]
        """
        if self.objective == "elbo":
            return jnp.full(log_weights.shape, 1 / len(log_weights))
        shares = self.shares(log_weights)
        rest = -shares if self.objective == "wake_sleep" else (1 - self.order) * (shares - 1)
        return shares * (1 + rest) * self.particles / len(log_weights)

    def shares(self, log_weights: jax.Array) -> jax.Array:
        r""":math:`\tilde w` ``(draws,)``, which sums to 1 over each group."""
        groups = log_weights.reshape(-1, self.particles)
        finite = jnp.where(jnp.isfinite(groups), groups, jnp.finfo(groups.dtype).min)
        return jax.nn.softmax((1 - self.order) * finite, axis=1).ravel()

    def values(self, log_weights: np.ndarray) -> np.ndarray:
        r"""The bound of each group of draws, in nats; their mean estimates the bound.

        .. math:: \frac{1}{1 - \alpha} \log \frac1K \sum_k w_k^{1 - \alpha}

        and :math:`\log w` for the ELBO. The wake phase minimises another divergence; it is followed by the
        importance-weighted bound.

        Args:
            log_weights: ``(draws,)``.

        Returns:
            ``(draws // particles,)``.

        Example:
            >>> log_weights = np.log([1.0, 3.0, 2.0, 2.0])
            >>> np.exp(Bound("iwae", 2, 0.0).values(log_weights)).round(6).tolist()
            [2.0, 2.0]
        """
        size = self.particles
        groups = log_weights[: len(log_weights) // size * size].reshape(-1, size)
        if self.objective == "elbo":
            return groups[:, 0]
        alpha = self.order
        return (logsumexp((1 - alpha) * groups, axis=1) - np.log(size)) / (1 - alpha)
