"""Training a velocity field on straight paths from noise to data. (JAX.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_choice
from ppgen.inference.training.objectives.denoising import with_some_labels
from ppgen.program.capabilities import HasVelocity
from ppgen.program.languages.rows import Batch

__all__ = ["FlowMatching", "optimal_pairs"]

Pairing = Literal["independent", "optimal"]


@dataclass(frozen=True)
class FlowMatching:
    r"""Regress the velocity on that of the straight path from a noise draw to an example.

    .. math:: \lVert v_\theta(z_t, t) - (x - \epsilon) \rVert^2, \qquad
        z_t = (1 - t) \, \epsilon + t \, x, \qquad t \sim U(0, 1), \; \epsilon \sim N(0, I)

    Independently paired paths cross, and the field learns their mean, which is curved. With optimal pairing,
    the noise draws of a minibatch are matched to its examples to minimise the sum of squared distances,
    within each class, so that the noise does not reveal the class.

    The family has a ``network``, as every family in NumPyro, and computes with it
    ``velocity(z, t, label, key=dropout_key)`` of examples ``(n, *shape)`` at times ``(n,)``; and it has
    ``standard_rows(x, key)``, rows in units of about 1, and ``random_times(key, n)`` in [0, 1].

    Attributes:
        pairing: ``"independent"`` or ``"optimal"``, of noises and rows in a minibatch.

    References:
        Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*, 2022,
        arXiv:2210.02747; Tong et al., *Improving and Generalizing Flow-Based Generative Models with Minibatch
        Optimal Transport*, 2023, arXiv:2302.00482.
    """

    name: ClassVar[str] = "flow_matching"
    requires: ClassVar[type] = HasVelocity

    pairing: Pairing = "independent"

    def __post_init__(self) -> None:
        check_choice("pairing", self.pairing, get_args(Pairing))

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, summed over its entries."""
        key, label, dropout_key = with_some_labels(subject, batch)
        return self._errors(subject.family, batch, key, label, dropout_key)

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """The same with all labels given and without dropout."""
        return self._errors(subject.family, batch, batch.key, batch.label, None)

    def _errors(self, family: Any, batch: Batch, key: Any, label: Any, dropout_key: Any) -> Any:
        row_key, noise_key, time_key = jax.random.split(key, 3)
        rows = family.standard_rows(batch.x, row_key)
        noise = jax.random.normal(noise_key, rows.shape)
        if self.pairing == "optimal":
            noise = noise[optimal_pairs(rows, noise, batch.label)]
        n = len(rows)
        t = family.random_times(time_key, n)
        share = t.reshape(-1, *(1,) * (rows.ndim - 1))
        z = (1 - share) * noise + share * rows
        errors = family.velocity(z, t, label, key=dropout_key) - (rows - noise)
        return (errors**2).reshape(n, -1).sum(-1)


def optimal_pairs(rows: jax.Array, noise: jax.Array, label: Any = None) -> jax.Array:
    r"""Which noise goes to each row, so that :math:`\sum_i \lVert x_i - \epsilon_{\pi(i)} \rVert^2` is least.

    Args:
        rows, noise: ``(n, *shape)`` each.
        label: the class of each example ``(n,)``; a noise stays within the class of its place.

    Returns:
        The permutation :math:`\pi` ``(n,)``. It is found by SciPy, on the host.

    Example:
        >>> optimal_pairs(jnp.array([[0.0], [5.0]]), jnp.array([[4.0], [1.0]])).tolist()
        [1, 0]
    """
    n = len(rows)
    x, e = rows.reshape(n, -1), noise.reshape(n, -1)
    cost = -2 * x @ e.T  # the squares' own sums are the same for every permutation
    if label is not None:
        apart = 1 + 2 * jnp.abs(cost).max() * n  # costs more than any saving
        cost = cost + apart * (label[:, None] != label[None, :])
    result = jax.ShapeDtypeStruct((n,), jnp.int32)
    return jax.pure_callback(_assignment, result, jax.lax.stop_gradient(cost), vmap_method="sequential")


def _assignment(cost: Any) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(np.asarray(cost, np.float64))[1].astype(np.int32)
