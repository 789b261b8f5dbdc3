"""The critic of adversarial training: a network from examples to numbers, with spectral normalisation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from ppgen.models.networks.codec import Networks
from ppgen.models.networks.convolution import ImageEncoder
from ppgen.models.networks.initial import keep_variance
from ppgen.models.networks.mlp import mlp

__all__ = ["Critic", "spectrally_normalised"]


class Critic(nn.Module):
    r"""Map examples to numbers, high where they look real: features, and a linear map of them.

    With classes the map depends on the class y by a projection:

    .. math:: T(x, y) = w^\top \phi(x) + b + v_y^\top \phi(x)

    Args:
        kind: ``"mlp"`` or ``"conv"``.
        shape: the shape of one example.
        hidden: widths of the hidden layers; for ``"conv"`` the channels after each halving of the image.
        latent: how many latent values come with a row.
        classes: how many classes rows have; 0 for none.
        spectral: divide each layer's matrix by its largest singular value, so that it stretches nothing.
        noise: the width of uniform noise on the rows, in training. Without it real data, which never fall
            between levels, would be easy to tell from samples.

    References:
        Miyato et al., *Spectral Normalization for Generative Adversarial Networks*, 2018, arXiv:1802.05957;
        Miyato and Koyama, *cGANs with Projection Discriminator*, 2018, arXiv:1802.05637; Sønderby et al.,
        *Amortised MAP Inference for Image Super-resolution*, 2016, arXiv:1610.04490 (noise).

    Example:
        >>> Critic("mlp", (2, 2), (8,), classes=3)(torch.zeros(5, 2, 2), label=torch.arange(5) % 3).shape
        torch.Size([5])
    """

    def __init__(
        self,
        kind: Networks,
        shape: tuple[int, ...],
        hidden: tuple[int, ...],
        *,
        latent: int = 0,
        classes: int = 0,
        spectral: bool = False,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.noise = noise
        width = hidden[-1]
        self.features = (
            ImageEncoder(shape, hidden, width, extra=latent)
            if kind == "conv"
            else mlp(math.prod(shape) + latent, hidden[:-1], width)
        )
        self.head = nn.Linear(width, 1)
        keep_variance(self)
        self.of_class = nn.Embedding(classes, width) if classes else None
        if self.of_class is not None:
            nn.init.zeros_(self.of_class.weight)  # classes do not differ before training
        if spectral:
            spectrally_normalised(self)

    def forward(
        self, x: Float[Tensor, " n *shape"], *latent: Tensor, label: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, " n"]:
        """A number for each example, given its latent values and its class."""
        rows = x.flatten(1)
        if self.training and self.noise:
            rows = rows + self.noise * (torch.rand_like(rows) - 0.5)
        features = F.silu(self.features(torch.cat([rows, *(part.flatten(1) for part in latent)], 1)))
        numbers = self.head(features)[:, 0]
        if self.of_class is None or label is None:
            return numbers
        return numbers + (self.of_class(label) * features).sum(1)


def spectrally_normalised(network: nn.Module) -> nn.Module:
    r"""Divide the matrix of each linear and convolutional layer by its largest singular value, in place.

    .. math:: \bar W = W / \sigma(W)

    A convolution's matrix is its kernel ``(outputs, inputs * height * width)``. The singular value comes from
    one power iteration a step, so that it lags a little behind the weights.

    References:
        Miyato et al., *Spectral Normalization for Generative Adversarial Networks*, 2018, arXiv:1802.05957.

    Example:
        >>> layer = spectrally_normalised(nn.Sequential(nn.Linear(3, 3, bias=False)))[0]
        >>> for _ in range(50):
        ...     _ = layer(torch.eye(3))  # each pass in training mode iterates once
        >>> f"{torch.linalg.svdvals(layer.weight)[0]:.3f}"
        '1.000'
    """
    for module in list(network.modules()):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            parametrizations.spectral_norm(module)
    return network
