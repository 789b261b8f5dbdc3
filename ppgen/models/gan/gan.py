"""The generative adversarial network: a generator that a critic cannot tell from the data."""

from __future__ import annotations

from typing import ClassVar

from ppgen.models.gan.family import ImplicitFamily

__all__ = ["GAN"]


class GAN(ImplicitFamily):
    r"""A generative adversarial network.

    .. math:: z \sim \mathcal{N}(0, I), \qquad x = G(z)

    It is trained against a critic T whose sigmoid is the probability that an example is real,

    .. math:: \max_T \; \mathbb{E}_{p_{\text{data}}}[\log \sigma(T(x))] +
        \mathbb{E}_z[\log(1 - \sigma(T(G(z))))],

    which estimates the Jensen–Shannon divergence. The generator does not minimise that, but maximises
    :math:`\mathbb{E}_z[\log \sigma(T(G(z)))]`, which has a gradient even where the critic is certain.

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

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
