"""The vector-quantised VAE: an example becomes a sequence of codes, whose prior is autoregressive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.conditionals import Levels, Sharpening
from ppgen.models.distributions.autoregressive import Autoregressive
from ppgen.models.module_family import seeded
from ppgen.models.networks.codec import Networks, decoder, encoder
from ppgen.models.networks.entries import value_embedding
from ppgen.models.networks.transformer import Decoder
from ppgen.models.settings import setting
from ppgen.models.vae.family import DecodedFamily
from ppgen.models.vae.vae import HIDDEN
from ppgen.program.bounds import elbo, log_joints
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.pyro import PyroRows
from ppgen.program.likelihood import Likelihood

__all__ = ["VQVAE"]

HEADS = 4  # of the prior's attention


class VQVAE(DecodedFamily):
    r"""A vector-quantised VAE with a transformer as the prior of its codes.

    .. math:: c \sim p(c) = \prod_{t=1}^T p(c_t \mid c_{<t}), \qquad
        x \mid c \sim p(x \mid \mathrm{decoder}(e_{c_1}, …, e_{c_T}))

    The guide puts all its mass on one sequence of codes: for each output vector :math:`v_t` of the encoder,
    the code of the nearest vector in the codebook. One term of the sum over all sequences is a lower bound:

    .. math:: \log p(x) = \log \sum_c p(c) \, p(x \mid c) \ge \log p(c(x)) + \log p(x \mid c(x))

    Prior, decoder and encoder train jointly, in one call: codes are integers, through which no gradient of
    the prior reaches the encoder, and as the learning rate falls they settle, so that the prior can learn
    them. The decoder's gradient passes straight through the codes to the encoder. A loss that pulls the
    codebook towards the encoder's vectors, and these towards the codebook, is used in training only:

    .. math:: \sum_t \|\mathrm{sg}[v_t] - e_{c_t}\|^2 + \kappa \, \|v_t - \mathrm{sg}[e_{c_t}]\|^2

    Raises:
        InvalidArgument: as for :class:`~ppgen.models.VAE`.

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

    name = "vqvae"
    summary = "vectors of a codebook with a transformer as prior of the codes; lower bound"
    objectives = ("elbo",)

    codes: int = setting(default=64, least=2, doc="how many vectors there are in the codebook")
    positions: int = setting(default=16, doc="the number T of codes per example")
    code_dim: int = setting(default=8, doc="the length of a vector")
    commitment: float = setting(
        default=0.25,
        above=0.0,
        doc="κ, the weight of the loss that pulls the encoder's vectors to the codebook",
    )
    networks: Networks = setting(default="mlp", doc="``conv`` for images")
    hidden: tuple[int, ...] = setting(
        factory=lambda chosen: HIDDEN[chosen.networks],
        doc="of decoder and encoder, as for :class:`~ppgen.models.VAE`",
    )
    dropout: float = setting(
        default=0.1, least=0.0, below=1.0, doc="on the hidden layers of decoder and prior, in training"
    )
    prior_width: int = setting(default=64, doc=f"of the transformer, a multiple of {HEADS}")
    prior_layers: int = setting(default=2, doc="of the transformer")

    def build(self) -> None:
        """Build decoder, encoder, codebook and prior."""
        super().build()
        size, numbers = self.positions * self.code_dim, self.observation.numbers
        self.decoder = decoder(self.networks, self.shape, self.hidden, size, numbers, dropout=self.dropout)
        # Without dropout: the guide and the straight-through step must see the same vectors.
        self.encoder = encoder(self.networks, self.shape, self.hidden, size)
        self.vector_loc: Tensor
        self.vector_scale: Tensor
        self.register_buffer("vector_loc", torch.zeros(size))
        self.register_buffer("vector_scale", torch.ones(size))
        self.codebook = nn.Parameter(torch.randn(self.codes, self.code_dim))
        self.prior = Decoder(
            value_embedding(self.codes, self.prior_width),
            (self.positions,),
            self.codes,
            width=_check_heads(self.prior_width),
            layers=self.prior_layers,
            heads=HEADS,
            dropout=self.dropout,
            classes=self.classes,
        )

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``codes (n, positions)`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
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
            observed = None if x is None else x.to(vectors.dtype)
            return pyro.sample("x", self.rows_given(vectors.flatten(1)), obs=observed)

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``codes``, without noise, for the rows ``x (n, *shape)``; it reads no label."""
        self.register()
        with pyro.plate("rows", len(x)):
            return pyro.sample("codes", dist.Delta(self._nearest(self._vectors(x)), event_dim=1))

    def log_prob(self, x: Any, *, label: Any = None) -> Likelihood:
        """A lower bound, without noise, on the log density of each example of ``x (n, *shape)``.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a density given the class; by default classes are
                marginalised.
        """

        def score(rows: Tensor, label: Tensor | None = None) -> Tensor:
            return elbo(log_joints(PyroRows(), self.model, self.guide, Batch(rows, label)))

        how = "one sequence of codes: log p(c(x)) + log p(x | c(x))"
        return Likelihood(self.score_rows(x, score, label), "lower_bound", self.space, self.dims, how)

    def encode(self, x: Any) -> np.ndarray:
        """The codes ``(n, positions)`` of rows ``x (n, *shape)``, each an index into the codebook."""
        with self.evaluation_mode():
            return self._nearest(self._vectors(self.rows(x))).cpu().numpy()

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units from the training set, for the encoder's vectors too, and the first codebook.

        An untrained encoder returns nearly the same for all examples. In units of its variation, every code
        is in use from the start (Łańcucki et al. 2020, arXiv:2005.08520, do this at every step).
        """
        super().standardise(rows, labels)
        with self.evaluation_mode(), seeded(self.seed):
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
