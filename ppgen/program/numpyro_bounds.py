r"""Bounds on the log density of a row, read off the traces of a NumPyro program and its guide.

The same functions as in :mod:`ppgen.program.bounds`, for the other language: all of them follow from the
log weights :math:`\log w_{si} = \log p(x_i, z_{si}) - \log q(z_{si} \mid x_i)`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp
from numpyro import handlers
from numpyro.infer.util import compute_log_probs

from ppgen.errors import ProgramError
from ppgen.program.family import Program

__all__ = ["elbo", "importance_weighted", "log_density", "log_weights", "renyi", "wake_sleep"]


def elbo(
    model: Program, guide: Program, key: jax.Array, x: jax.Array, samples: int = 1, *, label: Any = None
) -> jax.Array:
    r"""The evidence lower bound of each row.

    .. math:: \mathrm{ELBO}(x) = \mathbb{E}_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)] \le \log p(x)

    Args:
        model, guide: NumPyro programs whose first argument is the minibatch.
        key: of the draws.
        x: rows ``(n, *shape)``.
        samples: how many draws of z the expectation is averaged over.
        label: the class of each row ``(n,)``, for programs that take it as ``label=``.

    Returns:
        ``(n,)`` nats, differentiable.

    Raises:
        ProgramError: if a site's log density is not one number a row.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def model(x):
        ...     with numpyro.plate("rows", len(x)):
        ...         z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        ...         numpyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def posterior(x):
        ...     with numpyro.plate("rows", len(x)):
        ...         numpyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> bound = elbo(model, posterior, jax.random.key(0), jnp.array([0.0, 2.0]))
        >>> [round(float(value), 3) for value in bound]  # the guide is right: log N(x | 0, 2)
        [-1.266, -2.266]
    """
    return log_weights(model, guide, key, x, samples, label=label).mean(0)


def importance_weighted(
    model: Program, guide: Program, key: jax.Array, x: jax.Array, samples: int, *, label: Any = None
) -> jax.Array:
    r"""The importance-weighted bound of each row, tighter than the ELBO.

    .. math:: \log \frac1S \sum_{s=1}^S w_s(x) \quad\text{with}\quad z_s \sim q(z \mid x)

    Args, Returns and Raises are those of :func:`elbo`.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """
    return logsumexp(log_weights(model, guide, key, x, samples, label=label), 0) - jnp.log(samples)


def renyi(
    model: Program,
    guide: Program,
    key: jax.Array,
    x: jax.Array,
    samples: int,
    alpha: float,
    *,
    label: Any = None,
) -> jax.Array:
    r"""Rényi's bound of each row, :math:`\frac{1}{1-\alpha} \log \frac1S \sum_s w_s^{1-\alpha}`.

    Args:
        alpha: the order, in [0, 1); the others are those of :func:`elbo`.

    References:
        Li and Turner, *Rényi Divergence Variational Inference*, 2016, arXiv:1602.02311.
    """
    log_weight = log_weights(model, guide, key, x, samples, label=label)
    return (logsumexp((1 - alpha) * log_weight, 0) - jnp.log(samples)) / (1 - alpha)


def wake_sleep(
    model: Program, guide: Program, key: jax.Array, x: jax.Array, samples: int, *, label: Any = None
) -> jax.Array:
    """The importance-weighted bound of each row, with the gradients of reweighted wake-sleep.

    Args, Returns and Raises are those of :func:`elbo`.

    References:
        Bornschein and Bengio, *Reweighted Wake-Sleep*, 2014, arXiv:1406.2751.
    """
    log_p, log_q = _log_joints(model, guide, key, x, samples, label, hold_draws=True)
    log_weight = lax.stop_gradient(log_p - log_q)
    bound = logsumexp(log_weight, 0) - jnp.log(samples)
    surrogate = (jax.nn.softmax(log_weight, 0) * (log_p + log_q)).sum(0)
    return bound + surrogate - lax.stop_gradient(surrogate)


def log_weights(
    model: Program, guide: Program, key: jax.Array, x: jax.Array, samples: int = 1, *, label: Any = None
) -> jax.Array:
    """The log weights ``(samples, n)`` of each row, from one pass over the rows repeated."""
    log_p, log_q = _log_joints(model, guide, key, x, samples, label)
    return log_p - log_q


def log_density(model: Program, key: jax.Array, x: jax.Array, *, label: Any = None) -> jax.Array:
    """The log density ``(n,)`` of each row under a program that samples nothing but the rows.

    With a ``numpyro.factor`` in it that is an unnormalised log density. The key is for what is random
    and no site, such as dropout.
    """
    context = {} if label is None else {"label": label}
    log_probs, _ = compute_log_probs(handlers.seed(model, key), (x,), context, {}, sum_log_prob=False)
    return _row_sum(log_probs, len(x))


def _log_joints(
    model: Program,
    guide: Program,
    key: jax.Array,
    x: jax.Array,
    samples: int,
    label: Any,
    *,
    hold_draws: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """log p(x, z) and log q(z | x), each ``(samples, n)``, at draws of the guide."""
    repeated = jnp.tile(x, (samples, *(1,) * (x.ndim - 1)))  # (samples * n, *shape)
    context = {} if label is None else {"label": jnp.tile(label, samples)}
    guide_key, model_key = jax.random.split(key)
    drawn = handlers.trace(handlers.seed(guide, guide_key)).get_trace(repeated, **context)
    draws = {
        name: lax.stop_gradient(site["value"]) if hold_draws else site["value"]
        for name, site in drawn.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    # The guide is scored at its draws in a second pass; the key makes both passes the same.
    log_q, _ = compute_log_probs(handlers.seed(guide, guide_key), (repeated,), context, draws, False)
    log_p, _ = compute_log_probs(handlers.seed(model, model_key), (repeated,), context, draws, False)
    n = len(repeated)
    return _row_sum(log_p, n).reshape(samples, len(x)), _row_sum(log_q, n).reshape(samples, len(x))


def _row_sum(log_probs: dict[str, jax.Array], n: int) -> jax.Array:
    for name, value in log_probs.items():
        if value.shape != (n,):
            raise _not_one_number_a_row(name, value.shape, n)
    return sum(log_probs.values(), jnp.zeros(n))


def _not_one_number_a_row(name: str, shape: tuple[int, ...], n: int) -> ProgramError:
    if shape == ():
        fix = f"Put {name!r} into numpyro.plate('rows', len(x)); ppgen.infer fits what all rows share."
    elif len(shape) > 1 and shape[-1] != n:
        fix = f"Write .to_event({len(shape) - 1}) after the distribution of {name!r}."
    else:
        fix = f"Check the shapes of the parameters of {name!r}: one of them broadcasts against the rows."
    return ProgramError(
        f"site {name!r}",
        got=f"a log density of shape {shape}",
        expected=f"({n},), one number a row",
        fix=fix,
    )
