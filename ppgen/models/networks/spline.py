"""The spline flow's map: zuko's rational-quadratic splines, autoregressive or coupled."""

from __future__ import annotations

from torch import nn

from ppgen.models.networks.zuko_parts import activation, zuko

__all__ = ["BOUND", "spline_map"]

BOUND = 5.0
"""The splines act on [-BOUND, BOUND] and map it onto itself; beyond, they are the identity."""


def spline_map(
    features: int,
    context: int = 0,
    *,
    transforms: int,
    hidden: tuple[int, ...],
    bins: int,
    coupling: bool,
    dropout: float = 0.0,
) -> nn.Module:
    """A module that, called, gives the invertible map from data ``(..., features)`` to noise.

    Args:
        features: the length of one example.
        context: the length of the module's argument; 0 for none.
        transforms: how many spline layers; every second one reads the entries in reverse.
        hidden: widths of the network that sets each layer's knots.
        bins: pieces of each spline.
        coupling: two passes to invert a layer instead of one per feature, at some loss of fit.
        dropout: on the hidden layers, in training.
    """
    flow = zuko.flows.NSF(
        features,
        context,
        transforms=transforms,
        hidden_features=hidden,
        bins=bins,
        activation=activation(dropout),
        passes=2 if coupling else None,
    )
    return flow.transform
