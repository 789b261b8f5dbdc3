"""How networks read the entries of a row: levels as indicators or vectors, numbers as they are."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.mlp import mlp

__all__ = ["EMBEDDING_SCALE", "features", "indicators", "logits", "value_embedding"]

EMBEDDING_SCALE = 0.1  # of initial embeddings; much larger ones drown what the layers add to them


def features(levels: int | None) -> int:
    """How many numbers :func:`indicators` makes of an entry: ``levels - 1``, or 1 for continuous data."""
    return 1 if levels is None else levels - 1


def indicators(values: Shaped[Tensor, "*batch"], levels: int | None) -> Float[Tensor, "*batch features"]:
    """An entry as numbers: one indicator for each level but the first; a continuous entry is its own.

    A binary entry is so its own single feature, as in the papers on binary data.

    Example:
        >>> indicators(torch.tensor([0, 1, 2]), levels=3)
        tensor([[0., 0.],
                [1., 0.],
                [0., 1.]])
    """
    if levels is None:
        return values[..., None]
    others = torch.arange(1, levels, device=values.device)
    return (values[..., None] == others).to(torch.get_default_dtype())


def logits(
    outputs: Float[Tensor, "*batch outputs"], levels: int | None
) -> Float[Tensor, "*batch parameters"]:
    """Add the first level's logit, which is 0, so that two levels make a logistic sigmoid of one output."""
    return outputs if levels is None else F.pad(outputs, (1, 0))


def value_embedding(levels: int | None, width: int) -> nn.Module:
    """Vectors ``(n, t, width)`` for values ``(n, t)``: a table of levels, or a small network of numbers."""
    if levels is None:
        return nn.Sequential(nn.Unflatten(-1, (-1, 1)), mlp(1, (width,), width))
    embedding = nn.Embedding(levels, width)
    nn.init.normal_(embedding.weight, std=EMBEDDING_SCALE)
    return embedding
