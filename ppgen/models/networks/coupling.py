"""Coupling maps: half of the entries pass unchanged, and set the shift and scale of the other half."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ppgen.models.networks.invertible import InvertibleMap
from ppgen.models.networks.zuko_parts import activation, zuko

__all__ = ["additive_coupling_map", "affine_coupling_map"]


def additive_coupling_map(
    features: int, context: int = 0, *, transforms: int, hidden: tuple[int, ...], dropout: float = 0.0
) -> nn.Module:
    """Build layers of shifts, which preserve volume, with a scale for each entry at the end.

    Args:
        features: the length of one example.
        context: the length of the module's argument; 0 for none.
        transforms: how many coupling layers; they alternate in which half passes unchanged.
        hidden: widths of each layer's network.
        dropout: on the hidden layers, in training.
    """
    shift = {"univariate": zuko.transforms.AdditiveTransform, "shapes": [()]}
    flow = zuko.flows.NICE(
        features,
        context,
        transforms=transforms,
        hidden_features=hidden,
        activation=activation(dropout),
        **shift,
    )
    return zuko.lazy.LazyComposedTransform(*flow.transform.transforms, _Scaling(features))


def affine_coupling_map(
    features: int, context: int = 0, *, transforms: int, hidden: tuple[int, ...], dropout: float = 0.0
) -> nn.Module:
    """Shifts and positive scales; the arguments are those of :func:`additive_coupling_map`."""
    flow = zuko.flows.RealNVP(
        features,
        context,
        transforms=transforms,
        hidden_features=hidden,
        activation=activation(dropout),
    )
    return flow.transform


class _Scaling(InvertibleMap):
    """A positive factor for each entry, the same for all examples."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))

    def to_noise(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[:-1])

    def to_data(self, z: Tensor, context: Tensor | None) -> Tensor:
        return z * (-self.log_scale).exp()
