"""The masked autoregressive map: each entry is shifted and scaled by what the entries before it say."""

from __future__ import annotations

from torch import nn

from ppgen.models.networks.zuko_parts import activation, zuko

__all__ = ["masked_affine_map"]


def masked_affine_map(
    features: int, context: int = 0, *, transforms: int, hidden: tuple[int, ...], dropout: float = 0.0
) -> nn.Module:
    """A module that, called, gives the map ``(..., features)`` to ``(..., features)``.

    One pass forward; to invert it takes one pass an entry, so that its direction is a choice: from data to
    noise it makes densities fast (MAF), from noise to data samples (IAF).

    Args:
        features: the length of a row.
        context: the length of what the module is called with; 0 for nothing.
        transforms: how many layers; every second one reads the row backwards.
        hidden: widths of each layer's masked network.
        dropout: on the hidden layers, in training.
    """
    flow = zuko.flows.MAF(
        features,
        context,
        transforms=transforms,
        hidden_features=hidden,
        activation=activation(dropout),
    )
    return flow.transform
