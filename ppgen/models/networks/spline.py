"""The spline flow's map: zuko's rational-quadratic splines, autoregressive or coupled."""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution

__all__ = ["BOUND", "spline_map"]

_validation = Distribution._validate_args
import zuko  # noqa: E402

# Importing zuko switches argument validation off for all of torch.distributions; it is put back here.
Distribution.set_default_validate_args(_validation)

BOUND = 5.0
"""The splines act on [-BOUND, BOUND] and map it onto itself; beyond, they are the identity."""


def spline_map(
    features: int, *, transforms: int, hidden: tuple[int, ...], bins: int, coupling: bool
) -> nn.Module:
    """A module that, called, gives the invertible map from data ``(..., features)`` to noise.

    Args:
        features: the length of a row.
        transforms: how many spline layers; every second one reads the row backwards.
        hidden: widths of the network that sets each layer's knots.
        bins: pieces of each spline.
        coupling: two passes to invert a layer instead of one a feature, at some loss of fit.
    """
    flow = zuko.flows.NSF(
        features,
        transforms=transforms,
        hidden_features=hidden,
        bins=bins,
        activation=nn.SiLU,
        passes=2 if coupling else None,
    )
    return flow.transform
