"""The masked autoregressive map: each entry is shifted and scaled given the entries before it."""

from __future__ import annotations

from torch import nn

from ppgen.models.networks.zuko_parts import activation, zuko

__all__ = ["masked_affine_map"]


def masked_affine_map(
    features: int, context: int = 0, *, transforms: int, hidden: tuple[int, ...], dropout: float = 0.0
) -> nn.Module:
    """A module that, called, gives the map ``(..., features)`` to ``(..., features)``.

    It takes one pass forward, and one pass per entry to invert, so that the direction is a choice: from data
    to noise for fast densities (MAF), from noise to data for fast samples (IAF).

    Args:
        features: the length of one example.
        context: the length of the module's argument; 0 for none.
        transforms: how many layers; every second one reads the entries in reverse.
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
