"""The variational autoencoder: a latent vector, a decoder, and a guide that learns to invert it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyro
from pyro import poutine
from torch import Tensor

from ppgen.data.lazy import RowArray
from ppgen.models.distributions import PyroDistribution
from ppgen.models.networks.codec import Networks, decoder, encoder
from ppgen.models.settings import setting
from ppgen.models.vae.family import LatentFamily
from ppgen.models.vae.posteriors import Posteriors, posterior
from ppgen.models.vae.priors import Priors, VampPrior, prior

__all__ = ["VAE"]

HIDDEN = {"mlp": (512, 512), "conv": (64, 128)}


class VAE(LatentFamily):
    r"""A variational autoencoder.

    .. math:: z \sim p(z), \qquad x \mid z \sim p(x \mid \mathrm{decoder}(z)), \qquad
        q(z \mid x) = q(z \mid \mathrm{encoder}(x))

    With ``classes`` decoder and encoder also read the label.

    Raises:
        InvalidArgument: if a setting is out of range, the likelihood does not fit the levels, or the image
            is too small for the convolutions.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114; Tipping and Bishop,
        *Probabilistic Principal Component Analysis*, 1999; Tomczak and Welling, *VAE with a VampPrior*, 2017,
        arXiv:1705.07120; Kingma et al., *Improving Variational Inference with Inverse Autoregressive Flow*,
        2016, arXiv:1606.04934; Higgins et al., *beta-VAE*, ICLR 2017.

    Example:
        >>> vae = VAE((2, 2), levels=3, latent_dim=2, hidden=(8,))
        >>> vae.sample(5, seed=0).shape
        (5, 2, 2)
        >>> ll = vae.log_prob(np.zeros((10, 2, 2), int), samples=8)
        >>> ll.kind, ll.how
        ('lower_bound', 'importance-weighted bound, 8 samples')
    """

    name = "vae"
    summary = "variational autoencoder with a latent vector; lower bound; fast to train and to sample"
    renamed: ClassVar = {
        "covariance": "posterior",
        "prior.": "latent_prior.",
        "posterior.": "latent_posterior.",
    }

    latent_dim: int = setting(default=16, least=1, doc="the length of z")
    prior: Priors = setting(
        default="normal",
        doc="of z: standard normal, a learned Gaussian mixture, ``vamp`` (a mixture of the guide's "
        "posteriors of learned pseudo-inputs) or a neural spline flow",
    )
    components: int = setting(default=50, least=1, doc="of the mixture, or pseudo-inputs of the VampPrior")
    posterior: Posteriors = setting(
        default="diagonal",
        doc="the guide: Gaussian with diagonal or full covariance, or an inverse autoregressive flow. Its "
        "density of values that it did not draw, which VampPrior needs, is slow",
    )
    beta: float = setting(
        default=1.0,
        above=0.0,
        doc="weight of log q(z | x) - log p(z) in training; above 1 for independent latent "
        "entries. Validation and :meth:`log_prob` ignore it: they report the bound itself",
    )
    networks: Networks = setting(default="mlp", doc="``conv`` for images")
    hidden: tuple[int, ...] = setting(
        factory=lambda chosen: HIDDEN[chosen.networks],
        doc="widths of the decoder's hidden layers, the guide's in reverse; ``()`` makes both affine, "
        "and the VAE with Gaussian noise a probabilistic principal component analysis. For ``conv`` the "
        "channels after each halving of the image. By default ``(512, 512)`` and ``(64, 128)``",
    )
    dropout: float = setting(default=0.2, least=0.0, below=1.0, doc="on the hidden layers, in training")

    def build(self) -> None:
        """Build decoder, encoder, prior and posterior."""
        super().build()
        extra, dropout = self.classes or 0, self.dropout
        self.latent_posterior = posterior(self.posterior, self.latent_dim)
        numbers = self.observation.numbers
        self.decoder = decoder(
            self.networks, self.shape, self.hidden, self.latent_dim + extra, numbers, dropout=dropout
        )
        self.encoder = encoder(
            self.networks,
            self.shape,
            self.hidden,
            self.latent_posterior.numbers,
            extra=extra,
            dropout=dropout,
        )
        self.latent_prior = prior(
            self.prior, self.latent_dim, components=self.components, inputs=self.dims, classes=extra
        )

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``z`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            with poutine.scale(scale=self._weight_of_z()):
                z = pyro.sample("z", self.latent_prior(self._posterior))  # (n, latent_dim)
            observed = None if x is None else x.to(z.dtype)
            return pyro.sample("x", self.rows_given(self.with_class(z, label)), obs=observed)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``z``, given what the encoder makes of the rows ``x (n, *shape)``."""
        self.register()
        with pyro.plate("rows", len(x)), poutine.scale(scale=self._weight_of_z()):
            return pyro.sample("z", self._posterior(self._as_inputs(x, label)))  # (n, latent_dim)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units from the training set, and the VampPrior's initial pseudo-inputs."""
        super().standardise(rows, labels)
        if isinstance(self.latent_prior, VampPrior):
            self.latent_prior.start_from(self.as_input(self.rows(rows)).flatten(1))

    def _weight_of_z(self) -> float:
        return self.beta if self.training else 1.0

    def _posterior(self, inputs: Tensor) -> PyroDistribution:
        return self.latent_posterior(self.encoder(inputs))

    def _as_inputs(self, x: Tensor, label: Tensor | None) -> Tensor:
        return self.with_class(self.as_input(x).flatten(1), label)
