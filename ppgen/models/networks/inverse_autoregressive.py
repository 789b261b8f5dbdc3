"""The map of an inverse autoregressive flow: noise in, latent vector out, in one pass."""

from __future__ import annotations

from torch import nn

from ppgen.models.networks.zuko_parts import zuko

__all__ = ["inverse_autoregressive_map"]


def inverse_autoregressive_map(
    features: int, context: int, *, transforms: int, hidden: tuple[int, ...]
) -> nn.Module:
    """A module that, called with a context ``(*batch, context)``, gives an affine autoregressive map.

    Args:
        features: the length of a latent vector.
        context: the length of what the map depends on.
        transforms: how many layers; every second one reads the vector in reverse.
        hidden: widths of the network that sets each layer's shifts and scales.

    References:
        Kingma et al., *Improving Variational Inference with Inverse Autoregressive Flow*, 2016,
        arXiv:1606.04934.
    """
    flow = zuko.flows.MAF(
        features, context, transforms=transforms, hidden_features=hidden, activation=nn.SiLU
    )
    return flow.transform
