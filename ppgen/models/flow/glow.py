"""Glow: a multi-scale flow on images, with channels mixed by learned matrices."""

from __future__ import annotations

import numpy as np
import torch

from ppgen.data.lazy import RowArray
from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_image
from ppgen.models.flow.family import DROPOUT, FlowFamily
from ppgen.models.module_family import seeded
from ppgen.models.networks.glow import GlowMap
from ppgen.models.settings import setting

__all__ = ["Glow"]


class Glow(FlowFamily):
    r"""Glow: normalisation, an invertible 1×1 convolution and affine coupling, step by step.

    .. math:: h \to e^{s} \odot (h + m), \qquad h \to P L U h, \qquad
        (h_A, h_B) \to (h_A, \; e^{s(h_A)} \odot (h_B + m(h_A)))

    The first acts on each channel, the second on the channels of each pixel, the third by small convolutional
    networks. Each scale begins by turning squares of four pixels into four channels, and ends by splitting
    off half of the channels as noise. The initial shifts and scales give the channels of the training set
    mean 0 and variance 1.

    Raises:
        InvalidArgument: if a setting is out of range, the data are not images, or their sides cannot be
            halved so often.

    References:
        Kingma and Dhariwal, *Glow: Generative Flow with Invertible 1x1 Convolutions*, 2018, arXiv:1807.03039.

    Example:
        >>> glow = Glow((8, 8), levels=17, scales=2, steps=2, channels=8)
        >>> glow.sample(3, seed=0).shape
        (3, 8, 8)
        >>> glow.log_prob(glow.sample(3), samples=4).kind
        'lower_bound'
    """

    name = "glow"
    summary = "flow on images at several scales; exact for continuous data, else a lower bound"

    scales: int = setting(default=2, doc="how many scales; each halves height and width")
    steps: int = setting(default=8, doc="flow steps at each scale")
    channels: int = setting(default=64, doc="of the hidden layers of the coupling networks")
    dropout: float = DROPOUT

    def make_map(self) -> GlowMap:
        """Steps of normalisation, channel mixing and coupling at each scale."""
        return GlowMap(
            _as_image(self.shape, self.scales),
            self.context,
            scales=self.scales,
            steps=self.steps,
            channels=self.channels,
            dropout=self.dropout,
        )

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Fit units and class shares, and the initial normalisations, which need one pass over the data."""
        super().standardise(rows, labels)
        with self.evaluation_mode(), seeded(self.seed):
            y = torch.from_numpy(np.asarray(rows)).to(self.loc)
            y = y if self.levels is None else y + torch.rand_like(y)
            context = None
            if self.classes is not None:
                known = torch.zeros(len(y)) if labels is None else torch.from_numpy(labels)
                context = self.one_hot(known.to(y.device))
            self.map.initialise(((y - self.loc) / self.scale).flatten(1), context)


def _as_image(shape: tuple[int, ...], scales: int) -> tuple[int, int, int]:
    """Check that an image can be halved so often, and return ``(channels, height, width)``."""
    fix = "Use RealNVP or NeuralSplineFlow for data that are not images."
    channels, height, width = check_image(shape, fix)
    if height % 2**scales or width % 2**scales:
        most = min((height & -height), (width & -width)).bit_length() - 1  # how often 2 divides both
        raise InvalidArgument(
            "scales",
            got=f"{scales} for images of {height}×{width}",
            expected=f"at most {most}: each scale halves height and width"
            if most
            else "an even height and width",
            fix=f"Write scales={most}." if most else "Pad the images to an even height and width.",
        )
    return channels, height, width
