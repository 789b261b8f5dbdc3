"""The gated PixelCNN: convolutions that see only the pixels before."""

from __future__ import annotations

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.family import COMPONENTS, AutoregressiveFamily
from ppgen.models.checks import check_image
from ppgen.models.networks.pixelcnn import GatedConvolutions
from ppgen.models.settings import setting

__all__ = ["PixelCNN"]


class PixelCNN(AutoregressiveFamily):
    r"""A gated PixelCNN: an image row by row, pixel by pixel, a pixel's channels one after the other.

    .. math:: p(x) = \prod_{i,j,c} p(x_{ijc} \mid \text{rows above}, \text{pixels to the left},
        \text{channels before})

    A vertical stack of convolutions reads the rows above, a horizontal one the row itself. A draw takes a
    step per entry, each of which costs one pixel's share of the convolutions.

    Raises:
        InvalidArgument: if the data are not images, or a setting is out of range.

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

    width: int = setting(default=32, doc="feature channels of each stack")
    layers: int = setting(default=4, doc="how many gated layers")
    kernel: int = setting(
        default=5, doc="the width of the convolutions, odd; their height is half of it, rounded up"
    )
    dropout: float = setting(default=0.3, least=0.0, below=1.0, doc="in the layers, in training")
    components: int = COMPONENTS

    def conditionals(self) -> GatedConvolutions:
        """A vertical and a horizontal stack of convolutions."""
        _check_odd(self.kernel)
        fix = f"Write data.reshape(-1, 1, {self.shape[0]}) for rows of numbers, or use MADE or Transformer."
        return GatedConvolutions(
            self.levels,
            check_image(self.shape, fix),
            self.outputs(self.components),
            width=self.width,
            layers=self.layers,
            kernel=self.kernel,
            dropout=self.dropout,
            classes=self.classes,
        )


def _check_odd(kernel: int) -> None:
    if kernel % 2 == 0:
        fix = f"Write kernel={kernel + 1}."
        raise InvalidArgument("kernel", got=str(kernel), expected="an odd number", fix=fix)
