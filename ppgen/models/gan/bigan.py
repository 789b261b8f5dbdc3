"""The bidirectional GAN: a guide learns to invert the generator, as the critic sees pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
from torch import Tensor

from ppgen.models.checks import check_labels
from ppgen.models.family import in_values
from ppgen.models.gan.family import ImplicitFamily
from ppgen.models.networks.codec import encoder
from ppgen.models.networks.initial import keep_variance

__all__ = ["BiGAN"]


class BiGAN(ImplicitFamily):
    r"""A bidirectional generative adversarial network.

    .. math:: z \sim \mathcal{N}(0, I), \quad x = G(z), \qquad q(z \mid x) = \delta(z - E(x))

    Generator and encoder are trained together against a critic of pairs,

    .. math:: \max_T \; \mathbb{E}_{p_{\text{data}}}[\log \sigma(T(x, E(x)))] +
        \mathbb{E}_z[\log(1 - \sigma(T(G(z), z)))]

    If no critic can tell the pairs apart, the encoder inverts the generator: G(E(x)) = x. In practice the
    reconstruction resembles the example, but need not be close to it.

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

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

    joint: ClassVar[bool] = True

    def build(self) -> None:
        """Build generator and critic, and the encoder, with the hidden layers of the critic."""
        super().build()
        self.encoder = keep_variance(
            encoder(self.networks, self.shape, self.hidden, self.latent_dim, extra=self.classes or 0)
        )

    def guide(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The guide: site ``z``, the one vector that the encoder makes of each example ``x (n, *shape)``."""
        self.register()
        with pyro.plate("rows", len(x)):
            return pyro.sample("z", dist.Delta(self._encoded(x, label), event_dim=1))  # (n, latent_dim)

    def encode(self, x: Any, *, label: Any = None) -> np.ndarray:
        """The latent vectors ``(n, latent_dim)`` of rows ``x (n, *shape)``.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a model with classes.
        """
        return self._of_each(self._encoded, x, label)

    def reconstruct(self, x: Any, *, label: Any = None) -> np.ndarray:
        """Decode what :meth:`encode` returns for ``x``, to ``(n, *shape)``."""

        def again(rows: Tensor, label: Tensor | None = None) -> Tensor:
            return self.generate(self._encoded(rows, label), label)

        return in_values(self._of_each(again, x, label), self.levels)

    def _encoded(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return self.encoder(self.with_class(self.as_input(x).flatten(1), label))

    def _of_each(self, function: Callable[..., Tensor], x: Any, label: Any) -> np.ndarray:
        rows = self.rows(x)
        with self.evaluation_mode():
            return self._by_chunks(function, rows, check_labels(label, self.classes, len(rows)))
