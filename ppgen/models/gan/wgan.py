"""The Wasserstein GAN: a critic of bounded slope measures how far samples must move."""

from __future__ import annotations

from ppgen.models.gan.family import ImplicitFamily

__all__ = ["WGAN"]


class WGAN(ImplicitFamily):
    r"""A Wasserstein generative adversarial network, with gradient penalty.

    .. math:: z \sim \mathcal{N}(0, I), \quad x = G(z), \qquad
        W(p_{\text{data}}, p_G) = \max_{\lVert \nabla T \rVert \le 1} \; \mathbb{E}_{p_{\text{data}}}[T(x)] -
        \mathbb{E}_z[T(G(z))]

    The training history has that estimate as ``measures["divergence"]``, in units of ``as_input``:
    standard deviations of each entry, or levels spread over [-1, 1].

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

    Raises:
        InvalidArgument: if a setting is out of range, or the image is too small for the convolutions.

    References:
        Arjovsky, Chintala and Bottou, *Wasserstein GAN*, 2017, arXiv:1701.07875; Gulrajani et al., *Improved
        Training of Wasserstein GANs*, 2017, arXiv:1704.00028.

    Example:
        >>> gan = WGAN((2,), latent_dim=2, hidden=(8,))
        >>> gan.sample(5, seed=0).shape
        (5, 2)
    """

    name = "wgan"
    summary = "adversarial network for the Wasserstein distance, with gradient penalty; no likelihood"
    objectives = ("wasserstein",)
