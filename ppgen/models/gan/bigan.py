"""The bidirectional GAN: a guide learns to invert the generator, for the critic sees both."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ppgen.models.checks import check_labels
from ppgen.models.gan.family import ImplicitFamily
from ppgen.models.networks.codec import Networks, encoder
from ppgen.models.networks.initial import keep_variance
from ppgen.models.pyro_family import CHUNK

__all__ = ["BiGAN"]


class BiGAN(ImplicitFamily):
    r"""A bidirectional generative adversarial network.

    .. math:: z \sim \mathcal{N}(0, I), \quad x = G(z), \qquad q(z \mid x) = \delta(z - E(x))

    Generator and encoder are trained together against a critic of pairs,

    .. math:: \max_T \; \mathbb{E}_{p_{\text{data}}}[\log \sigma(T(x, E(x)))] +
        \mathbb{E}_z[\log(1 - \sigma(T(G(z), z)))]

    Where no critic can tell the pairs apart, the encoder inverts the generator: G(E(x)) = x. In practice what
    comes back resembles the row, and need not be close to it.

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        latent_dim, networks, hidden, spectral, classes, seed: as of :class:`GAN`; the encoder has the hidden
            layers of the critic.

    Raises:
        InvalidArgument: if a setting is out of range, or the image is too small for the convolutions.

    References:
        Donahue, Krähenbühl and Darrell, *Adversarial Feature Learning*, 2016, arXiv:1605.09782; Dumoulin et
        al., *Adversarially Learned Inference*, 2016, arXiv:1606.00704.

    Example:
        >>> gan = BiGAN((2, 2), levels=3, latent_dim=2, hidden=(8,))
        >>> rows = np.zeros((5, 2, 2), int)
        >>> gan.encode(rows).shape, gan.reconstruct(rows).shape
        ((5, 2), (5, 2, 2))
    """

    name = "bigan"
    summary = "adversarial network with an encoder that inverts the generator; no likelihood"

    divergence: ClassVar[str] = "jensen_shannon"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        latent_dim: int = 16,
        networks: Networks = "mlp",
        hidden: tuple[int, ...] | None = None,
        spectral: bool = False,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            shape,
            levels,
            "adversarial",
            {},
            latent_dim=latent_dim,
            networks=networks,
            hidden=hidden,
            spectral=spectral,
            classes=classes,
            seed=seed,
            joint=True,
        )

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``z``, the one vector that the encoder makes of each row ``x (n, *shape)``."""
        self.register()
        with pyro.plate("rows", len(x)):
            return pyro.sample("z", dist.Delta(self._encoded(x, label), event_dim=1))  # (n, latent_dim)

    def encode(self, x: Any, *, label: Any = None) -> np.ndarray:
        """The latent vectors ``(n, latent_dim)`` of rows ``x (n, *shape)``.

        Args:
            x: rows in the data's own values.
            label: the class of each row, for a model with classes.
        """
        return self._by_chunks(self._encoded, x, label)

    def reconstruct(self, x: Any, *, label: Any = None) -> np.ndarray:
        """The rows ``(n, *shape)`` that the generator makes of what :meth:`encode` makes of ``x``."""
        rows = self._by_chunks(
            lambda x, label: self._rounded(self.generate(self._encoded(x, label), label)), x, label
        )
        return rows.astype(np.float64 if self.levels is None else np.int64)

    def _build(self, kind: Networks, hidden: tuple[int, ...], spectral: bool, joint: bool) -> None:
        super()._build(kind, hidden, spectral, joint)
        self.encoder = keep_variance(
            encoder(kind, self.shape, hidden, self.latent_dim, extra=self.classes or 0)
        )

    def _encoded(self, x: Tensor, label: Tensor | None) -> Tensor:
        return self.encoder(self._with_class(self.as_input(x).flatten(1), label))

    def _by_chunks(self, what: Any, x: Any, label: Any) -> np.ndarray:
        rows, labels = self.rows(x), check_labels(label, self.classes, len(x))
        with self._at_rest():
            each = (
                [None] * len(rows)
                if labels is None
                else torch.from_numpy(labels).to(rows.device).split(CHUNK)
            )
            chunks = zip(rows.split(CHUNK), each, strict=False)
            return torch.cat([what(chunk, of_chunk) for chunk, of_chunk in chunks]).cpu().numpy()
