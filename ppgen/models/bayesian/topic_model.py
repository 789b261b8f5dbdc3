"""Latent Dirichlet allocation: documents as mixtures of topics (NumPyro)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

__all__ = ["topic_model"]


def topic_model(document: Any, word: Any, documents: int, vocabulary: int, topics: int) -> None:
    r"""Each word of a document is of a topic of that document; each topic has words of its own.

    .. math::
        \phi_k \sim \mathrm{Dirichlet}(0.1), \quad \theta_d \sim \mathrm{Dirichlet}(0.5), \quad
        t_n \sim \theta_{d(n)}, \quad w_n \sim \phi_{t_n}

    Blei, Ng and Jordan (2003), "Latent Dirichlet allocation". ``ppgen.infer`` sums the topic of each word
    out; ``post.infer_discrete()`` draws it afterwards. Topics can trade places: look at one chain, or at a
    guide (``method="svi"``), which settles on one order.

    Args:
        document: ``(n,)`` the document of each word, 0 to ``documents - 1``.
        word: ``(n,)`` the words, 0 to ``vocabulary - 1``.
        documents, vocabulary, topics: how many there are of each.

    Example:
        >>> import numpy as np
        >>> from ppgen.program import read_density
        >>> data = {"document": np.array([0, 1, 1]), "word": np.array([2, 0, 2])}
        >>> density = read_density(topic_model, data | {"documents": 2, "vocabulary": 3, "topics": 2})
        >>> phi = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
        >>> theta = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> z = density.unconstrain({"phi": phi, "theta": theta})
        >>> expected = np.log((theta @ phi)[data["document"], data["word"]])
        >>> bool(np.allclose(density.log_likelihood(z)["word"], expected))
        True
    """
    with numpyro.plate("topics", topics):
        phi = numpyro.sample("phi", dist.Dirichlet(jnp.full(vocabulary, 0.1)))
    with numpyro.plate("documents", documents):
        theta = numpyro.sample("theta", dist.Dirichlet(jnp.full(topics, 0.5)))
    with numpyro.plate("words", len(word)):
        topic = numpyro.sample("topic", dist.Categorical(theta[document]))
        numpyro.sample("word", dist.Categorical(phi[topic]), obs=word)
