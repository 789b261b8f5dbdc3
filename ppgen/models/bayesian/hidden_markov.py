"""A hidden Markov model of counts: a chain of states that is never seen (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

__all__ = ["poisson_hidden_markov"]


def poisson_hidden_markov(count: Any, states: int) -> None:
    r"""Counts whose rate depends on a hidden state, which moves from year to year.

    .. math::
        \log \lambda_1 \sim N(2, 1), \quad \log \lambda_{k+1} = \log \lambda_k + e^{u_k},\ u_k \sim N(-1, 1),
        \quad \Gamma_k \sim \mathrm{Dirichlet}(1 + 4 e_k), \quad \pi \sim \mathrm{Dirichlet}(1), \\
        s_1 \sim \pi, \quad s_t \sim \Gamma_{s_{t-1}}, \quad y_t \sim \mathrm{Poisson}(\lambda_{s_t})

    The states are ordered by their rates, so that they cannot trade places; each prefers to stay (the
    :math:`e_k` is a unit vector). ``ppgen.infer`` sums them out, which is the forward algorithm;
    ``post.infer_discrete()`` draws them afterwards. MacDonald and Zucchini (1997), *Hidden Markov and
    Other Models for Discrete-valued Time Series*.

    Args:
        count: ``(T,)`` counts.
        states: how many hidden states there are.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> count, rate = np.array([3, 9]), np.array([2.0, 8.0])
        >>> stay, start = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0.6, 0.4])
        >>> density = read_density(poisson_hidden_markov, {"count": count, "states": 2})
        >>> z = density.unconstrain({"log_rate": np.log(rate), "transition": stay, "start": start})
        >>> emission = scipy.stats.poisson.pmf(count[:, None], rate)           # (T, states)
        >>> expected = np.log((start * emission[0]) @ stay @ emission[1])
        >>> bool(np.isclose(sum(np.asarray(t).sum() for t in density.log_likelihood(z).values()), expected))
        True
    """
    log_rate = numpyro.sample(
        "log_rate",
        dist.TransformedDistribution(
            dist.Normal(jnp.array([2.0] + [-1.0] * (states - 1)), 1.0).to_event(1),
            dist.transforms.OrderedTransform(),
        ),
    )
    stay = 1.0 + 4.0 * jnp.eye(states)
    transition = numpyro.sample("transition", dist.Dirichlet(stay).to_event(1))
    start = numpyro.sample("start", dist.Dirichlet(jnp.ones(states)))
    rate = numpyro.deterministic("rate", jnp.exp(log_rate))

    def year(probs: jax.Array, observed: jax.Array) -> tuple[jax.Array, None]:
        state = numpyro.sample("state", dist.Categorical(probs))
        numpyro.sample("count", dist.Poisson(rate[state]), obs=observed)
        return transition[state], None

    scan(year, start, count)
