"""The variational autoencoder: a latent vector, a decoder, and a guide that learns to invert it."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.nn import functional as F

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_fraction, check_name, check_number, check_positive, check_sizes
from ppgen.models.distributions import PyroDistribution
from ppgen.models.networks.codec import Networks, decoder, encoder
from ppgen.models.observation import Likelihoods, default_likelihood, observation
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.models.vae.posteriors import Posteriors, posterior
from ppgen.models.vae.priors import Priors, VampPrior, prior
from ppgen.program.likelihood import Likelihood

__all__ = ["VAE"]

OBJECTIVES = ("elbo", "iwae", "renyi", "wake_sleep")
HIDDEN = {"mlp": (512, 512), "conv": (64, 128)}


class VAE(PyroFamily):
    r"""A variational autoencoder.

    .. math:: z \sim p(z), \qquad x \mid z \sim p(x \mid \mathrm{decoder}(z)), \qquad
        q(z \mid x) = q(z \mid \mathrm{encoder}(x))

    With ``classes`` decoder and encoder read the row's label too.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        latent_dim: the length of z.
        likelihood: of an entry given z: ``"categorical"``, ``"bernoulli"`` (2 levels),
            ``"discretized_logistic"`` or ``"gaussian"`` (continuous data). By default Gaussian without
            levels, Bernoulli with 2, categorical with more.
        prior: of z: ``"normal"``, a learned Gaussian ``"mixture"``, ``"vamp"`` (the mixture of what the
            guide infers from learned pseudo-inputs) or ``"flow"`` (a neural spline flow).
        components: of the mixture, or pseudo-inputs of the VampPrior.
        posterior: the guide: Gaussian with ``"diagonal"`` or ``"full"`` covariance, or an inverse
            autoregressive ``"flow"``. Its densities of values not its own are slow, which VampPrior needs.
        covariance: an older name for the Gaussian posteriors.
        beta: weight of :math:`\log q(z \mid x) - \log p(z)` in training; above 1 for independent latent
            entries. Validation and :meth:`log_prob` do not know it: they report the bound itself.
        networks: ``"mlp"``, or ``"conv"`` for images.
        hidden: widths of the decoder's hidden layers, in reverse those of the guide; ``()`` makes both
            affine, and the VAE with Gaussian noise a probabilistic principal component analysis. For
            ``"conv"`` the channels after each halving of the image. By default ``(512, 512)`` and
            ``(64, 128)``.
        dropout: on the hidden layers, in training.
        noise_scale: the standard deviation of Gaussian noise, in standard deviations of each entry of the
            training rows; by default learned, one for each entry.
        classes: how many classes the rows have, for a model of rows given their label.
        seed: seed of the initial weights.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        latent_dim: int = 16,
        likelihood: Likelihoods | None = None,
        prior: Priors = "normal",
        components: int = 50,
        posterior: Posteriors = "diagonal",
        covariance: Literal["diagonal", "full"] | None = None,
        beta: float = 1.0,
        networks: Networks = "mlp",
        hidden: tuple[int, ...] | None = None,
        dropout: float = 0.2,
        noise_scale: float | None = None,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        likelihood = likelihood or default_likelihood(levels)
        posterior = _one_name_for(posterior, covariance)
        config = {
            "latent_dim": check_positive("latent_dim", latent_dim),
            "likelihood": likelihood,
            "prior": check_name("prior", prior, get_args(Priors)),
            "components": check_positive("components", components),
            "posterior": check_name("posterior", posterior, get_args(Posteriors)),
            "beta": check_number("beta", beta),
            "networks": check_name("networks", networks, get_args(Networks)),
            "hidden": check_sizes("hidden", HIDDEN[networks] if hidden is None else hidden),
            "dropout": check_fraction("dropout", dropout),
            "noise_scale": noise_scale,
            "seed": seed,
        }
        super().__init__(shape, levels, config, OBJECTIVES, classes=classes)
        self.latent_dim = latent_dim
        self.beta = beta
        self._build(config)
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``z`` and ``x``.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            with poutine.scale(scale=self._weight_of_z()):
                z = pyro.sample("z", self.prior(self._posterior))  # (n, latent_dim)
            observed = None if x is None else x.to(z.dtype)
            return pyro.sample("x", self._likelihood(self._with_class(z, label)), obs=observed)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``z``, given what the encoder makes of the rows ``x (n, *shape)``."""
        self.register()
        with pyro.plate("rows", len(x)), poutine.scale(scale=self._weight_of_z()):
            return pyro.sample("z", self._posterior(self._as_inputs(x, label)))  # (n, latent_dim)

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values; the same seed gives the same rows.

        Args:
            n: how many.
            seed: of the draws.
            label: one class for all rows or one for each; by default drawn as often as in training.
        """
        return self._draw(n, seed, lambda size, label=None: self.model(n=size, label=label), label)

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The importance-weighted lower bound on the log density of each row of ``x (n, *shape)``.

        Args:
            x: rows in the data's own values.
            label: the class of each row, for a density given the class; by default classes are summed out.
            samples: draws from the guide a row; 1 gives the ELBO, more a tighter bound.
            seed: seed of the draws.
        """
        return self._bound(x, self.guide, samples, seed, label)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units from the training rows, and the VampPrior's first pseudo-inputs."""
        super().standardise(rows, labels)
        if isinstance(self.prior, VampPrior):
            self.prior.start_from(self.as_input(self.rows(rows)).flatten(1))

    def _build(self, config: dict[str, Any]) -> None:
        kind, hidden, dropout = config["networks"], config["hidden"], config["dropout"]
        extra = self.classes or 0
        with seeded(config["seed"]):
            self.observation = observation(
                config["likelihood"], self.shape, self.levels, config["noise_scale"]
            )
            self.posterior = posterior(config["posterior"], self.latent_dim)
            numbers = self.observation.numbers
            self.decoder = decoder(
                kind, self.shape, hidden, self.latent_dim + extra, numbers, dropout=dropout
            )
            self.encoder = encoder(
                kind, self.shape, hidden, self.posterior.numbers, extra=extra, dropout=dropout
            )
            self.prior = prior(
                config["prior"],
                self.latent_dim,
                components=config["components"],
                inputs=self.dims,
                classes=extra,
            )

    def _weight_of_z(self) -> float:
        return self.beta if self.training else 1.0

    def _likelihood(self, vectors: Tensor) -> PyroDistribution:
        outputs = self.decoder(vectors).unflatten(-1, (*self.shape, -1))  # (*batch, *shape, numbers)
        return self.in_data_units(self.observation(outputs))

    def _posterior(self, inputs: Tensor) -> PyroDistribution:
        return self.posterior(self.encoder(inputs))

    def _as_inputs(self, x: Tensor, label: Tensor | None) -> Tensor:
        return self._with_class(self.as_input(x).flatten(1), label)

    def _with_class(self, vectors: Tensor, label: Tensor | None) -> Tensor:
        if self.classes is None or label is None:
            return vectors
        return torch.cat([vectors, F.one_hot(label, self.classes).to(vectors.dtype)], -1)


def _one_name_for(posterior: Posteriors, covariance: str | None) -> Any:
    if covariance is None:
        return posterior
    if posterior not in ("diagonal", covariance):
        raise InvalidArgument(
            "covariance",
            got=f"{covariance!r} with posterior={posterior!r}",
            expected="one of the two",
            fix="Leave covariance out.",
        )
    return check_name("covariance", covariance, ("diagonal", "full"))
