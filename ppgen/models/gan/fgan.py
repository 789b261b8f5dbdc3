"""The f-GAN: adversarial training for any f-divergence."""

from __future__ import annotations

from typing import Literal

from ppgen.models.gan.family import ImplicitFamily
from ppgen.models.settings import setting

__all__ = ["FGAN", "Divergences"]

Divergences = Literal["jensen_shannon", "kl", "reverse_kl", "pearson", "squared_hellinger"]


class FGAN(ImplicitFamily):
    r"""A generative adversarial network for a chosen f-divergence.

    .. math:: z \sim \mathcal{N}(0, I), \quad x = G(z), \qquad
        D_f(p_{\text{data}} \Vert p_G) = \max_T \; \mathbb{E}_{p_{\text{data}}}[T(x)] -
        \mathbb{E}_z[f^*(T(G(z)))]

    The training history has that estimate as ``measures["divergence"]``, in nats. Divergences that
    penalise what the generator misses (KL, Pearson) make it cover the data; reverse KL makes it avoid regions
    without data.

    There is no likelihood. For discrete data the generator emits numbers, which :meth:`sample` rounds
    to levels.

    Raises:
        InvalidArgument: if a setting is out of range, or the image is too small for the convolutions.

    References:
        Nowozin, Cseke and Tomioka, *f-GAN: Training Generative Neural Samplers using Variational Divergence
        Minimization*, 2016, arXiv:1606.00709.

    Example:
        >>> gan = FGAN((2,), divergence="squared_hellinger", hidden=(8,))
        >>> gan.sample(5, seed=0).shape
        (5, 2)
    """

    name = "fgan"
    summary = "adversarial network for an f-divergence (KL, reverse KL, Pearson, …); no likelihood"

    divergence: Divergences = setting(
        default="kl",
        doc="``kl`` (∫ p log(p / q), p the data and q the samples), ``reverse_kl`` (∫ q log(q / p)), "
        "``jensen_shannon`` (at most log 2), ``pearson`` (∫ (p - q)² / q) or ``squared_hellinger`` "
        "(∫ (√p - √q)²)",
    )
