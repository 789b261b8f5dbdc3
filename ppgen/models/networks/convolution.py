"""Small convolutional networks between images and vectors, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ppgen.errors import InvalidArgument

__all__ = ["ImageDecoder", "ImageEncoder", "halvings"]


class ImageEncoder(nn.Module):
    """Rows to numbers: one convolution of stride 2 for each width, then an affine map.

    It reads flat examples, perhaps with numbers of another meaning behind them, such as a label's one-hot
    vector, which go to the affine map as they are: what a multilayer perceptron reads, too.

    Args:
        shape: of an image, ``(height, width)`` or ``(height, width, colours)``.
        widths: channels after each halving.
        outputs: the number of outputs.
        extra: how many numbers there are behind the image.
        dropout: on the channels after each halving, in training.

    Raises:
        InvalidArgument: if the shape is not an image's, or too small for so many halvings.

    Example:
        >>> import torch
        >>> ImageEncoder((8, 8), (16, 32), outputs=5)(torch.zeros(2, 64)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        widths: Sequence[int],
        outputs: int,
        *,
        extra: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        height, width = halvings(shape, widths)[-1]
        self.image = _height_width_colours(shape)
        layers: list[nn.Module] = [nn.Conv2d(self.image[-1], widths[0], 3, padding=1), nn.SiLU()]
        for before, after in pairwise((widths[0], *widths)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.SiLU(), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(widths[-1] * height * width + extra, outputs)

    def forward(self, rows: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Numbers ``(*batch, outputs)`` for flat examples ``(*batch, pixels + extra)``."""
        height, width, colours = self.image
        pixels = height * width * colours
        image = rows[..., :pixels].reshape(-1, height, width, colours).movedim(-1, 1)
        features = self.convolutions(image).reshape(*rows.shape[:-1], -1)  # (*batch, features)
        return self.head(torch.cat([features, rows[..., pixels:]], -1))


class ImageDecoder(nn.Module):
    """Vectors to rows: an affine map, one doubling for each width, and a last convolution.

    A doubling repeats the nearest pixel and convolves, which leaves no checkerboard (Odena, Dumoulin and
    Olah, *Deconvolution and Checkerboard Artifacts*, 2016).

    Args:
        shape: of an image, ``(height, width)`` or ``(height, width, colours)``.
        widths: channels before each doubling, the last one first.
        inputs: the length of a vector.
        numbers: how many outputs there are for each entry of the image.
        dropout: on the channels after each doubling, in training.

    Raises:
        InvalidArgument: if the shape is not an image's, or too small for so many doublings.

    Example:
        >>> import torch
        >>> ImageDecoder((8, 8), (16, 32), inputs=5, numbers=2)(torch.zeros(3, 5)).shape
        torch.Size([3, 128])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        widths: Sequence[int],
        inputs: int,
        numbers: int,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        *larger, smallest = halvings(shape, widths)
        self.smallest = (widths[-1], *smallest)
        self.stem = nn.Sequential(nn.Linear(inputs, widths[-1] * smallest[0] * smallest[1]), nn.SiLU())
        layers: list[nn.Module] = []
        for size, (before, after) in zip(larger[::-1], pairwise((*widths[::-1], widths[0])), strict=True):
            layers += [nn.Upsample(size), nn.Conv2d(before, after, 3, padding=1), nn.SiLU()]
            layers += [nn.Dropout(dropout)]
        self.numbers = numbers
        outputs = _height_width_colours(shape)[-1] * numbers
        self.convolutions = nn.Sequential(*layers, nn.Conv2d(widths[0], outputs, 3, padding=1))

    def forward(self, vectors: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Numbers ``(*batch, pixels * numbers)``, those of an entry next to each other."""
        small = self.stem(vectors).reshape(-1, *self.smallest)
        image = self.convolutions(small).movedim(1, -1)  # (rows, height, width, colours * numbers)
        return image.reshape(*vectors.shape[:-1], -1)


def halvings(shape: tuple[int, ...], widths: Sequence[int]) -> list[tuple[int, int]]:
    """The height and width of an image before and after each halving, odd ones rounded up.

    Raises:
        InvalidArgument: if the shape is not an image's, there is no width, or the image is too small.

    Example:
        >>> halvings((28, 28), (32, 64, 128))
        [(28, 28), (14, 14), (7, 7), (4, 4)]
    """
    height, width, _ = _height_width_colours(shape)
    deepest = min(height, width).bit_length() - 1
    if not 1 <= len(widths) <= deepest:
        raise InvalidArgument(
            "hidden",
            got=f"{len(widths)} convolutions of stride 2 for an image of {height}×{width}",
            expected=f"from 1 to {deepest}: each halves the image" if deepest else "an image from 2×2 up",
            fix=f"Write hidden={(64, 128)[:deepest]}." if deepest else "Write networks='mlp'.",
        )
    sizes = [(height, width)]
    for _ in widths:
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def _height_width_colours(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) not in (2, 3):
        raise InvalidArgument(
            "networks",
            got=f"'conv' for rows of shape {shape}",
            expected="images: (height, width) or (height, width, colours)",
            fix="Write networks='mlp', or reshape the rows to images.",
        )
    height, width, *colours = shape
    return height, width, colours[0] if colours else 1
