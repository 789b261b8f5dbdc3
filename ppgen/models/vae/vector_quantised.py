"""The vector-quantised VAE: a row becomes a sequence of codes, whose prior is autoregressive."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.conditionals import Levels, Sharpening
from ppgen.models.checks import check_fraction, check_name, check_number, check_positive, check_sizes
from ppgen.models.distributions.autoregressive import Autoregressive
from ppgen.models.networks.codec import Networks, decoder, encoder
from ppgen.models.networks.entries import value_embedding
from ppgen.models.networks.transformer import Decoder
from ppgen.models.observation import Likelihoods, default_likelihood, observation
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.models.vae.vae import HIDDEN
from ppgen.program.bounds import elbo
from ppgen.program.likelihood import Likelihood

__all__ = ["VQVAE"]

HEADS = 4  # of the prior's attention


class VQVAE(PyroFamily):
    r"""A vector-quantised VAE with a transformer as the prior of its codes.

    .. math:: c \sim p(c) = \prod_{t=1}^T p(c_t \mid c_{<t}), \qquad
        x \mid c \sim p(x \mid \mathrm{decoder}(e_{c_1}, …, e_{c_T}))

    The guide puts all its weight on one sequence of codes: for each vector :math:`v_t` of the encoder's
    output that of the nearest vector in the codebook. One term of a sum over all sequences is a lower bound:

    .. math:: \log p(x) = \log \sum_c p(c) \, p(x \mid c) \ge \log p(c(x)) + \log p(x \mid c(x))

    Prior, decoder and encoder learn at once, in one call: codes are whole numbers, through which the prior
    has no gradient to the encoder, and as the learning rate falls they come to rest for the prior to learn.
    The decoder's gradient goes straight through the codes to the encoder. A loss that draws the codebook to
    the encoder's vectors, and these to the codebook, is part of training alone:

    .. math:: \sum_t \|\mathrm{sg}[v_t] - e_{c_t}\|^2 + \kappa \, \|v_t - \mathrm{sg}[e_{c_t}]\|^2

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        codes: how many vectors there are in the codebook.
        positions: the number T of codes for a row.
        code_dim: the length of a vector.
        commitment: :math:`\kappa`.
        likelihood: of an entry given the codes, as for :class:`~ppgen.models.VAE`.
        networks, hidden: of decoder and encoder, as for :class:`~ppgen.models.VAE`.
        dropout: on the hidden layers of decoder and prior, in training.
        prior_width, prior_layers: the transformer's size; the width is a multiple of 4.
        noise_scale: as for :class:`~ppgen.models.VAE`.
        classes: how many classes the rows have, for a prior of codes given the label.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or as for :class:`~ppgen.models.VAE`.

    References:
        van den Oord, Vinyals and Kavukcuoglu, *Neural Discrete Representation Learning*, 2017,
        arXiv:1711.00937.

    Example:
        >>> vq = VQVAE((2, 2), levels=3, codes=4, positions=2, code_dim=2, hidden=(8,), prior_width=8)
        >>> vq.sample(5, seed=0).shape, vq.encode(np.zeros((3, 2, 2), int)).shape
        ((5, 2, 2), (3, 2))
        >>> vq.log_prob(np.zeros((3, 2, 2), int)).how
        'one sequence of codes: log p(c(x)) + log p(x | c(x))'
    """

    vector_loc: Tensor
    vector_scale: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        codes: int = 64,
        positions: int = 16,
        code_dim: int = 8,
        commitment: float = 0.25,
        likelihood: Likelihoods | None = None,
        networks: Networks = "mlp",
        hidden: tuple[int, ...] | None = None,
        dropout: float = 0.1,
        prior_width: int = 64,
        prior_layers: int = 2,
        noise_scale: float | None = None,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        likelihood = likelihood or default_likelihood(levels)
        config: dict[str, Any] = {
            "codes": check_positive("codes", codes, least=2),
            "positions": check_positive("positions", positions),
            "code_dim": check_positive("code_dim", code_dim),
            "commitment": check_number("commitment", commitment),
            "likelihood": likelihood,
            "networks": check_name("networks", networks, get_args(Networks)),
            "hidden": check_sizes("hidden", HIDDEN[networks] if hidden is None else hidden),
            "dropout": check_fraction("dropout", dropout),
            "prior_width": _check_heads(check_positive("prior_width", prior_width)),
            "prior_layers": check_positive("prior_layers", prior_layers),
            "noise_scale": noise_scale,
            "seed": seed,
        }
        super().__init__(shape, levels, config, ("elbo",), classes=classes)
        self.positions = positions
        self.commitment = commitment
        size, kind, hidden = positions * code_dim, config["networks"], config["hidden"]
        with seeded(seed):
            self.observation = observation(likelihood, self.shape, levels, noise_scale)
            numbers = self.observation.numbers
            self.decoder = decoder(kind, self.shape, hidden, size, numbers, dropout=dropout)
            # Without dropout: the guide and the straight-through step have to see the same vectors.
            self.encoder = encoder(kind, self.shape, hidden, size)
            self.register_buffer("vector_loc", torch.zeros(size))
            self.register_buffer("vector_scale", torch.ones(size))
            self.codebook = nn.Parameter(torch.randn(codes, code_dim))
            self.prior = Decoder(
                value_embedding(codes, prior_width),
                (positions,),
                codes,
                width=prior_width,
                layers=prior_layers,
                heads=HEADS,
                dropout=dropout,
                classes=classes,
            )
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``codes (n, positions)`` and ``x``.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        self.register()
        n = n if x is None else len(x)
        batch = () if label is None else (n,)
        prior = Autoregressive(self.prior, Levels(Sharpening()), (self.positions,), batch, label)
        with pyro.plate("rows", n):
            codes = pyro.sample("codes", prior)
            vectors = self.codebook[codes]  # (n, positions, code_dim)
            if self.training and x is not None:
                vectors = self._straight_through(vectors, x)
            outputs = self.decoder(vectors.flatten(1)).unflatten(-1, (*self.shape, -1))
            observed = None if x is None else x.to(outputs.dtype)
            return pyro.sample("x", self.in_data_units(self.observation(outputs)), obs=observed)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``codes``, without noise, for the rows ``x (n, *shape)``; it reads no label."""
        self.register()
        with pyro.plate("rows", len(x)):
            return pyro.sample("codes", dist.Delta(self._nearest(self._vectors(x)), event_dim=1))

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values; arguments as of :class:`~ppgen.models.VAE`."""
        return self._draw(n, seed, lambda size, label=None: self.model(n=size, label=label), label)

    def log_prob(self, x: Any, *, label: Any = None) -> Likelihood:
        """A lower bound, without noise, on the log density of each row of ``x (n, *shape)``.

        Args:
            x: rows in the data's own values.
            label: the class of each row, for a density given the class; by default classes are summed out.
        """

        def score(rows: Tensor, label: Tensor | None = None) -> Tensor:
            return elbo(self.model, self.guide, rows, label=label)

        how = "one sequence of codes: log p(c(x)) + log p(x | c(x))"
        return Likelihood(self._score(x, score, label), "lower_bound", self.space, self.dims, how)

    def encode(self, x: Any) -> np.ndarray:
        """The codes ``(n, positions)`` of rows ``x (n, *shape)``, each a place in the codebook."""
        with self._at_rest():
            return self._nearest(self._vectors(self.rows(x))).cpu().numpy()

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units from the training rows, for the encoder's vectors too, and the first codebook.

        An encoder says nearly the same of all rows at first. In units of how it varies from row to row, every
        code is in use from the start (Łańcucki et al. 2020, arXiv:2005.08520, do this at every step).
        """
        super().standardise(rows, labels)
        with self._at_rest(), seeded(self.config["seed"]):
            raw = self.encoder(self.as_input(self.rows(rows)).flatten(1))
            self.vector_loc.copy_(raw.mean(0))
            self.vector_scale.copy_(raw.std(0) + 1e-6)
            vectors = self._vectors(self.rows(rows)).flatten(0, 1)
            self.codebook.copy_(vectors[torch.randint(len(vectors), (len(self.codebook),))])

    def _vectors(self, x: Tensor) -> Tensor:
        raw = self.encoder(self.as_input(x).flatten(1))
        return ((raw - self.vector_loc) / self.vector_scale).unflatten(-1, (self.positions, -1))

    def _nearest(self, vectors: Tensor) -> Tensor:
        squares = self.codebook.square().sum(-1) - 2 * vectors @ self.codebook.mT  # (n, positions, codes)
        return squares.argmin(-1)

    def _straight_through(self, coded: Tensor, x: Tensor) -> Tensor:
        """The vectors of the codes, with the gradient of the encoder's own (Bengio et al. 2013)."""
        vectors = self._vectors(x)
        apart = (vectors.detach() - coded).square() + self.commitment * (vectors - coded.detach()).square()
        pyro.factor("codebook", -apart.sum((-1, -2)))
        return vectors + (coded - vectors).detach()


def _check_heads(width: int) -> int:
    if width % HEADS:
        raise InvalidArgument(
            "prior_width", got=str(width), expected=f"a multiple of {HEADS}", fix="Write prior_width=64."
        )
    return width
