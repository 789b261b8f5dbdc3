"""A Bayesian neural network: regression by a function whose weights are uncertain (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["neural_network"]


def neural_network(x: Any, y: Any = None, width: int = 20) -> None:
    r"""One hidden layer of tanh units, with normal priors of every weight.

    .. math::
        W_1 \sim N(0, 1),\ b_1 \sim N(0, 1), \quad w_2 \sim N(0, 1),\ b_2 \sim N(0, 1), \\
        f(x) = b_2 + \frac{1}{\sqrt H}\, w_2^\top \tanh(W_1 x + b_1), \quad
        \sigma \sim N^+(0, 1), \quad y_i \sim N(f(x_i), \sigma)

    With :math:`1 / \sqrt H` the prior of :math:`f` does not depend on the width, and tends to a Gaussian
    process (Neal 1996, *Bayesian Learning for Neural Networks*). Hidden units can trade places, so R-hat
    of single weights says little; judge ``f``.

    Args:
        x: ``(n, d)`` inputs, best on a scale of about 1.
        y: ``(n,)`` outputs, best on a scale of about 1; ``None`` to simulate them.
        width: H, how many hidden units.

    Example:
        >>> import numpy as np, scipy.stats
        >>> from ppgen.program import read_density
        >>> x, y = np.array([[0.5], [-1.0]]), np.array([0.3, 0.1])
        >>> density = read_density(neural_network, {"x": x, "y": y, "width": 2})
        >>> first, second = {"W1": [[1.0, -2.0]], "b1": [0.5, 0.0]}, {"w2": [1.0, 3.0], "b2": -0.2}
        >>> z = density.unconstrain(first | second | {"sigma": 0.4})
        >>> f = -0.2 + (np.tanh(x @ [[1.0, -2.0]] + [0.5, 0.0]) @ [1.0, 3.0]) / np.sqrt(2)
        >>> bool(np.allclose(density.log_likelihood(z)["y"], scipy.stats.norm.logpdf(y, f, 0.4)))
        True
    """
    W1 = numpyro.sample("W1", dist.Normal(0.0, 1.0).expand([x.shape[-1], width]).to_event(2))
    b1 = numpyro.sample("b1", dist.Normal(0.0, 1.0).expand([width]).to_event(1))
    w2 = numpyro.sample("w2", dist.Normal(0.0, 1.0).expand([width]).to_event(1))
    b2 = numpyro.sample("b2", dist.Normal(0.0, 1.0))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    f = numpyro.deterministic("f", b2 + jnp.tanh(x @ W1 + b1) @ w2 / jnp.sqrt(width))
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(f, sigma), obs=y)
