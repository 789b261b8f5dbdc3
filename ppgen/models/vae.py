"""The variational autoencoder: a latent vector, a decoder, and a guide that learns to invert it."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pyro
import pyro.distributions as dist
from torch import Tensor

from ppgen.models.checks import check_fraction, check_name, check_positive, check_sizes
from ppgen.models.distributions import PyroDistribution
from ppgen.models.networks.mlp import mlp
from ppgen.models.observation import Likelihoods, default_likelihood, observation
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.program.likelihood import Likelihood

__all__ = ["VAE"]

Covariance = Literal["diagonal", "full"]


class VAE(PyroFamily):
    r"""A variational autoencoder.

    .. math:: z \sim N(0, I), \qquad x \mid z \sim p(x \mid \mathrm{decoder}(z)), \qquad
        q(z \mid x) = N(m(x), S(x))

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        latent_dim: the length of z.
        likelihood: of an entry given z: ``"categorical"``, ``"bernoulli"`` (2 levels),
            ``"discretized_logistic"`` or ``"gaussian"`` (continuous data). By default Gaussian without
            levels, Bernoulli with 2, categorical with more.
        hidden: widths of the decoder's hidden layers, in reverse those of the guide; ``()`` makes both
            affine, and the VAE with Gaussian noise a probabilistic principal component analysis.
        dropout: on the hidden layers, in training.
        covariance: of the guide, ``"diagonal"`` or ``"full"``.
        noise_scale: the standard deviation of Gaussian noise, in standard deviations of each entry of the
            training rows; by default learned, one for each entry.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the likelihood does not fit the levels.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114; Tipping and Bishop,
        *Probabilistic Principal Component Analysis*, 1999.

    Example:
        >>> vae = VAE((2, 2), levels=3, latent_dim=2, hidden=(8,))
        >>> vae.sample(5, seed=0).shape
        (5, 2, 2)
        >>> ll = vae.log_prob(np.zeros((10, 2, 2), int), samples=8)
        >>> ll.kind, ll.how
        ('lower_bound', 'importance-weighted bound, 8 samples')
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        latent_dim: int = 16,
        likelihood: Likelihoods | None = None,
        hidden: tuple[int, ...] = (512, 512),
        dropout: float = 0.2,
        covariance: Covariance = "diagonal",
        noise_scale: float | None = None,
        seed: int = 0,
    ) -> None:
        likelihood = likelihood or default_likelihood(levels)
        config = {
            "latent_dim": check_positive("latent_dim", latent_dim),
            "likelihood": likelihood,
            "hidden": check_sizes("hidden", hidden),
            "dropout": check_fraction("dropout", dropout),
            "covariance": check_name("covariance", covariance, get_args(Covariance)),
            "noise_scale": noise_scale,
            "seed": seed,
        }
        super().__init__(shape, levels, config, objectives=("elbo", "iwae"))
        self.latent_dim = latent_dim
        self.covariance = covariance
        spread = latent_dim if covariance == "diagonal" else latent_dim**2
        with seeded(seed):
            self.observation = observation(likelihood, self.shape, levels, noise_scale)
            self.decoder = mlp(latent_dim, hidden, self.dims * self.observation.numbers, dropout)
            self.encoder = mlp(self.dims, hidden[::-1], latent_dim + spread, dropout)
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: sites ``z`` and ``x``.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
        """
        self.register()
        prior = dist.Normal(self.loc.new_zeros(self.latent_dim), 1.0).to_event(1)
        with pyro.plate("rows", n if x is None else len(x)):
            z = pyro.sample("z", prior)  # (n, latent_dim)
            outputs = self.decoder(z).unflatten(-1, (*self.shape, -1))  # (n, *shape, numbers)
            observed = None if x is None else x.to(outputs.dtype)
            return pyro.sample("x", self.in_data_units(self.observation(outputs)), obs=observed)

    def guide(self, x: Tensor) -> Tensor:
        """The guide: site ``z``, Gaussian around what the encoder makes of the rows ``x (n, *shape)``."""
        self.register()
        with pyro.plate("rows", len(x)):
            return pyro.sample("z", self._posterior(x))  # (n, latent_dim)

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values; the same seed gives the same rows."""
        return self._draw(n, seed, lambda size: self.model(n=size))

    def log_prob(self, x: Any, *, samples: int = 64, seed: int = 0) -> Likelihood:
        """The importance-weighted lower bound on the log density of each row of ``x (n, *shape)``.

        Args:
            x: rows in the data's own values.
            samples: draws from the guide a row; 1 gives the ELBO, more a tighter bound.
            seed: seed of the draws.
        """
        return self._bound(x, self.guide, samples, seed)

    def _posterior(self, x: Tensor) -> PyroDistribution:
        outputs = self.encoder(self.as_input(x).flatten(1))
        loc, spread = outputs[:, : self.latent_dim], outputs[:, self.latent_dim :]
        if self.covariance == "diagonal":
            return dist.Normal(loc, spread.clamp(-7, 7).exp()).to_event(1)
        square = spread.unflatten(-1, (self.latent_dim, self.latent_dim))
        log_diagonal = square.diagonal(dim1=-2, dim2=-1).clamp(-7, 7)
        return dist.MultivariateNormal(loc, scale_tril=square.tril(-1) + log_diagonal.exp().diag_embed())
