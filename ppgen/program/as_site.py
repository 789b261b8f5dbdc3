"""A trained model as a part of another program: its rows as a distribution, or its decoder."""

from __future__ import annotations

from typing import Any

from ppgen.program.languages.language import find_language

__all__ = ["as_decoder", "as_site"]


def as_site(family: Any, *, label: int | None = None, engine: str = "pyro") -> Any:
    r"""The distribution of a family's rows, for ``pyro.sample`` or ``numpyro.sample`` in another program.

    .. math:: x \sim p_\theta, \qquad \theta \text{ fixed}

    It is a frozen copy: training the family further changes nothing in it, and fitting a program that it
    stands in changes nothing in the family. Its log density has gradients with respect to the row, in the
    language of the program: for NumPyro the torch operations are replayed in JAX. Draws are torch's.

    A flow on rows with levels gives the continuous rows y whose floor is the data, on their box or line.

    Args:
        family: one of ``ppgen.models`` with a density: a flow, or an autoregressive model.
        label: the class of the rows, for a class-conditional family.
        engine: ``"pyro"`` or ``"numpyro"``: the language of the program that it is for.

    Raises:
        NoLikelihood: if the family has no exact density; :func:`as_decoder` may be what is wanted.
        UnknownName: if there is no such language.
        UnsupportedProgram: for NumPyro, if its density cannot be replayed in JAX.

    Example:
        >>> import numpy as np, numpyro, numpyro.distributions as dist
        >>> from ppgen.models import RealNVP
        >>> prior = as_site(RealNVP((2,), hidden=(8,), transforms=2), engine="numpyro")
        >>> def program(y):
        ...     x = numpyro.sample("x", prior)
        ...     numpyro.sample("y", dist.Normal(x, 0.1).to_event(1), obs=y)
        >>> from ppgen.program import read_density
        >>> read_density(program, {"y": np.zeros(2)}).dim
        2
    """
    sites = find_language(engine).sites
    return sites.distribution(find_language(family.engine).sites.freeze(family, label, decoder=False))


def as_decoder(family: Any, *, label: int | None = None, engine: str = "pyro") -> Any:
    r"""What a family with latent variables says of a row given them, as a function for another program.

    .. math:: z \mapsto p_\theta(x \mid z), \qquad \theta \text{ fixed}

    Each entry of the row is an element of the batch where entries are independent given z, so that a mask can
    leave out those that were not observed: ``decoder(z)`` has batch shape ``(*batch, *shape)`` for
    z ``(*batch, latent_dim)``. Write ``decoder(z).to_event(2)`` for whole images. Log densities have
    gradients with respect to z and x. It is a frozen copy, as in :func:`as_site`.

    Args:
        family: one of ``ppgen.models`` with latent variables, such as a VAE.
        label: the class of the rows, for a class-conditional family.
        engine: ``"pyro"`` or ``"numpyro"``: the language of the program that it is for.

    Returns:
        A function of the latent variables, in the order of the family's program or by name.

    Raises:
        NoLikelihood: if the family has no latent variables.
        UnknownName: if there is no such language.
        UnsupportedProgram: for NumPyro, if its density cannot be replayed in JAX.

    Example:
        >>> import jax.numpy as jnp
        >>> from ppgen.models import VAE
        >>> decoder = as_decoder(VAE((2, 2), levels=3, latent_dim=2, hidden=(8,)), engine="numpyro")
        >>> decoder(jnp.zeros(2)).log_prob(jnp.ones((2, 2), int)).shape
        (2, 2)
    """
    sites = find_language(engine).sites
    return sites.decoder(find_language(family.engine).sites.freeze(family, label, decoder=True))
