"""The metric of a chain from the covariance of its own history, whatever the units of its coordinates."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from blackjax.adaptation.metric_recipes import MetricCore, lookup_recipe

__all__ = ["covariance_metric"]


def covariance_metric(dense: bool) -> MetricCore:
    r"""The regularised covariance of a window of ``n`` draws, or its diagonal alone.

    .. math:: \frac{n}{n + 5} \Sigma + \frac{5}{n + 5} 10^{-3} \operatorname{diag}(\min(\Sigma_{ii}, 1))

    Stan adds the same multiple of 1 to each variance. That drowns a coordinate whose variance is smaller
    than that: the coefficient of a column in the thousands, and all that is correlated with it. Up to a
    variance of 1 the number that is added is therefore in the coordinate's own units.

    Example:
        >>> core = covariance_metric(dense=False)
        >>> state = core.init(2)
        >>> for z in ([1.0, 1e-5], [-1.0, -1e-5]):
        ...     state = core.update(state, jnp.array(z), None)
        >>> variances = core.final(state).inverse_mass_matrix
        >>> print((variances / jnp.array([2.0, 2e-10])).round(3))       # 2 / (2 + 5), and a little
        [0.286 0.286]
    """
    stan = lookup_recipe("welford_dense" if dense else "welford_diag").build_core()

    def final(state: Any) -> Any:
        count = state.wc_state.sample_size
        covariance = state.wc_state.m2 / jnp.maximum(count - 1, 1)
        variances = jnp.diag(covariance) if dense else covariance
        # A coordinate that has not moved has no units yet.
        added = 1e-3 * jnp.where(variances > 0, jnp.minimum(variances, 1.0), 1.0)
        metric = (count * covariance + 5 * (jnp.diag(added) if dense else added)) / (count + 5)
        return stan.final(state)._replace(inverse_mass_matrix=metric)

    return MetricCore(init=stan.init, update=stan.update, final=final)
