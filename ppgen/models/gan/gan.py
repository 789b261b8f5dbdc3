"""The generative adversarial network: a generator that a critic cannot tell from the data."""

from __future__ import annotations

from typing import ClassVar

from ppgen.models.gan.family import ImplicitFamily
from ppgen.models.networks.codec import Networks

__all__ = ["GAN"]


class GAN(ImplicitFamily):
    r"""A generative adversarial network.

    .. math:: z \sim \mathcal{N}(0, I), \qquad x = G(z)

    It is trained against a critic T whose sigmoid is the probability that a row is real,

    .. math:: \max_T \; \mathbb{E}_{p_{\text{data}}}[\log \sigma(T(x))] +
        \mathbb{E}_z[\log(1 - \sigma(T(G(z))))],

    which estimates the Jensen–Shannon divergence. The generator does not minimise that, but maximises
    :math:`\mathbb{E}_z[\log \sigma(T(G(z)))]`, which has a gradient where the critic is sure.

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        latent_dim: the length of z.
        networks: ``"mlp"``, or ``"conv"`` for images.
        hidden: widths of the generator's hidden layers, in reverse those of the critic; for ``"conv"`` the
            channels after each halving of the image. By default ``(256, 256)`` and ``(64, 128)``.
        spectral: divide the matrix of each of the critic's layers by its largest singular value, which bounds
            its slope.
        classes: how many classes the rows have, for a model of rows given their label: the generator reads
            it beside z, the critic by a projection.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the image is too small for the convolutions.

    References:
        Goodfellow et al., *Generative Adversarial Networks*, 2014, arXiv:1406.2661; Radford, Metz and
        Chintala, *Unsupervised Representation Learning with Deep Convolutional GANs*, 2015, arXiv:1511.06434;
        Miyato et al., *Spectral Normalization*, 2018, arXiv:1802.05957.

    Example:
        >>> gan = GAN((2, 2), levels=3, latent_dim=2, hidden=(8,))
        >>> gan.sample(5, seed=0).shape
        (5, 2, 2)
    """

    name = "gan"
    summary = "generative adversarial network, non-saturating; no likelihood; fast to sample"

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
        )
