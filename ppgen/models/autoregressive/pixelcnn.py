"""The gated PixelCNN: convolutions that see only the pixels before."""

from __future__ import annotations

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.family import AutoregressiveFamily
from ppgen.models.checks import check_fraction, check_positive, check_shape
from ppgen.models.networks.pixelcnn import GatedConvolutions
from ppgen.models.pyro_family import seeded

__all__ = ["PixelCNN"]


class PixelCNN(AutoregressiveFamily):
    r"""A gated PixelCNN: an image row by row, pixel by pixel, a pixel's channels one after the other.

    .. math:: p(x) = \prod_{i,j,c} p(x_{ijc} \mid \text{rows above}, \text{pixels to the left},
        \text{channels before})

    A vertical stack of convolutions reads the rows above, a horizontal one the row itself. A draw takes a
    step an entry, each of which costs one pixel's share of the convolutions.

    Args:
        shape: ``(height, width)`` or ``(channels, height, width)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        width: feature channels of each stack.
        layers: how many gated layers.
        kernel: the width of the convolutions, odd; their height is half of it, rounded up.
        dropout: in the layers, in training.
        components: Gaussians in each conditional of continuous data.
        classes: how many classes the images have, which shift every gate; ``None`` for images without.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a row is no image, or a setting is out of range.

    References:
        van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, *Conditional Image Generation
        with PixelCNN Decoders*, 2016, arXiv:1606.05328; Ramachandran et al., *Fast Generation for
        Convolutional Autoregressive Models*, 2017, arXiv:1704.06001.

    Example:
        >>> import numpy as np
        >>> pixels = PixelCNN((1, 2), levels=2, width=4, layers=1)
        >>> ll = pixels.log_prob([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 5)
        ('exact', 1.0)
    """

    name = "pixelcnn"
    summary = "gated convolutions over images, one pixel after the other; exact likelihood; slow to sample"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        width: int = 32,
        layers: int = 4,
        kernel: int = 5,
        dropout: float = 0.3,
        components: int = 8,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        config = {
            "width": check_positive("width", width),
            "layers": check_positive("layers", layers),
            "kernel": _check_odd("kernel", kernel),
            "dropout": check_fraction("dropout", dropout),
            "components": check_positive("components", components),
            "seed": seed,
        }
        channels, height, columns = _as_image(shape)
        super().__init__(shape, levels, config, objectives=("likelihood",), classes=classes)
        with seeded(seed):
            self.network = GatedConvolutions(
                levels,
                (channels, height, columns),
                self.outputs(components),
                width=width,
                layers=layers,
                kernel=kernel,
                dropout=dropout,
                classes=classes,
            )
        self.eval()


def _as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    sizes = check_shape(shape)
    if len(sizes) not in (2, 3):
        raise InvalidArgument(
            "shape",
            got=str(sizes),
            expected="(height, width) or (channels, height, width)",
            fix=f"Write data.reshape(-1, 1, {sizes[0]}) for rows of numbers, or use MADE or Transformer.",
        )
    return (1, *sizes) if len(sizes) == 2 else sizes  # type: ignore[return-value]


def _check_odd(name: str, value: int) -> int:
    if check_positive(name, value) % 2 == 0:
        raise InvalidArgument(
            name, got=str(value), expected="an odd number", fix=f"Write {name}={value + 1}."
        )
    return value
