"""Inception-v3 as used in the FID paper: the only features whose Fréchet distance is called FID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from ppgen.evaluation.features.networks import NetworkFeatures, WeightsFile
from ppgen.evaluation.features.spec import FeatureSpec

__all__ = ["INCEPTION_V3", "InceptionNetwork", "InceptionV3", "resize_as_tensorflow"]

INCEPTION_V3 = WeightsFile(
    "Inception-v3",
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "Fetch https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth (96 MB; torch-fidelity's copy of TensorFlow's weights)",
)

_SIDE = 299  # pixels


@dataclass(frozen=True, eq=False)
class InceptionV3(NetworkFeatures):
    """The 2048 pooled features of TensorFlow's Inception-v3 of 2015, and its probabilities of 1008 classes.

    It reproduces torch-fidelity, whose weights file it reads, and pytorch-fid: TensorFlow 1's resizing, with
    corners not aligned, and its pooling. The probabilities leave out the last bias, as the Inception Score
    does.
    (Szegedy et al. 2016, arXiv:1512.00567; Heusel et al. 2017, arXiv:1706.08500.)

    Args:
        levels: how many values a pixel takes.
        path: the weights file; by default where ppgen looks for it.

    Raises:
        StorageError: if the weights are missing; the message says what to
            download, where to put it, and its hash.
    """

    weights: ClassVar[WeightsFile] = INCEPTION_V3
    batch: ClassVar[int] = 32

    @property
    def spec(self) -> FeatureSpec:
        """How the features are made."""
        resize = f"bilinear to {_SIDE}x{_SIDE} as in TensorFlow 1"
        quantization = f"{self.levels or 256} levels, to 256"
        return FeatureSpec("Inception-v3 as in the FID paper", INCEPTION_V3.sha256, resize, quantization)

    def _build(self) -> nn.Module:
        return InceptionNetwork()

    def _of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = torch.from_numpy(np.rint(images))  # FID is defined on 8-bit images
        with torch.inference_mode():
            features = self._network(x)
            scores = features @ self._network.fc.weight.T
            return features.double().numpy(), scores.double().softmax(dim=1).numpy()


def resize_as_tensorflow(x: Tensor, side: int) -> Tensor:
    """Images ``(n, c, h, w)`` to ``(n, c, side, side)``: pixel i lies at i · h / side of the old image."""
    for axis in (2, 3):
        old = x.shape[axis]
        place = torch.arange(side, dtype=x.dtype) * (old / side)
        below = place.floor().long()
        above = (below + 1).clamp(max=old - 1)
        share = (place - below).reshape(-1, *(1,) * (3 - axis))
        x = x.index_select(axis, below) * (1 - share) + x.index_select(axis, above) * share
    return x


class InceptionNetwork(nn.Module):
    """The network; its parts are named as in the weights file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = _Convolution(32, 64, (3, 3), padding=(1, 1))
        self.Conv2d_3b_1x1 = _Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = _Convolution(80, 192, (3, 3))
        self.Mixed_5b = _block_a(192, 32)
        self.Mixed_5c = _block_a(256, 64)
        self.Mixed_5d = _block_a(288, 64)
        self.Mixed_6a = _Mixed(288, [[("branch3x3", 384, 3, 2)], _double(96, stride=2)], "halve")
        self.Mixed_6b = _block_c(128)
        self.Mixed_6c = _block_c(160)
        self.Mixed_6d = _block_c(160)
        self.Mixed_6e = _block_c(192)
        self.Mixed_7a = _block_d()
        self.Mixed_7b = _block_e(1280, "average")
        self.Mixed_7c = _block_e(2048, "max")  # as in TensorFlow's graph, unlike the paper
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, 3, h, w)`` in 0 … 255 to features ``(n, 2048)``."""
        x = (resize_as_tensorflow(x, _SIDE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(max_pool2d(x, 3, 2)))
        x = max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return x.mean(dim=(2, 3))


_Layer = tuple[str, int, int | tuple[int, int], int]
"""A name, channels out, the kernel, and the stride."""

_Pool = Literal["average", "max", "halve"]


class _Convolution(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Parallel branches of convolutions, and one that pools; a branch may end in two parallel layers."""

    def __init__(
        self, inputs: int, branches: Sequence[Sequence[_Layer]], pool: _Pool, pooled: int | None = None
    ) -> None:
        super().__init__()
        self.pool, self.branches = pool, []
        for branch in branches:
            channels, names = inputs, []
            for name, outputs, size, stride in branch:
                kernel = (size, size) if isinstance(size, int) else size
                padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 else (0, 0)
                setattr(self, name, _Convolution(channels, outputs, kernel, stride, padding))
                names.append(name)
                # "2a" and "2b" both take the output of "1".
                channels = channels if name.endswith("a") else outputs
            self.branches.append(names)
        if pooled is not None:
            self.branch_pool = _Convolution(inputs, pooled, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for names in self.branches:
            hidden = x
            for name in names:
                out = getattr(self, name)(hidden)
                if name.endswith(("a", "b")):
                    outputs.append(out)
                else:
                    hidden = out
            if not names[-1].endswith("b"):
                outputs.append(hidden)
        return torch.cat([*outputs, self._pooled(x)], dim=1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "halve":
            return max_pool2d(x, 3, 2)
        if self.pool == "max":
            return self.branch_pool(max_pool2d(x, 3, 1, 1))
        # TensorFlow's average leaves the padding out.
        return self.branch_pool(avg_pool2d(x, 3, 1, 1, count_include_pad=False))


def _branch(name: str, *layers: tuple[int, int | tuple[int, int]], stride: int = 1) -> list[_Layer]:
    """A sequence of convolutions: output channels and kernel of each; the last has the stride."""
    last = len(layers)
    return [
        (f"{name}_{i}", outputs, kernel, stride if i == last else 1)
        for i, (outputs, kernel) in enumerate(layers, 1)
    ]


def _double(outputs: int, stride: int = 1) -> list[_Layer]:
    return _branch("branch3x3dbl", (64, 1), (96, 3), (outputs, 3), stride=stride)


def _block_a(inputs: int, pooled: int) -> _Mixed:
    five = _branch("branch5x5", (48, 1), (64, 5))
    return _Mixed(inputs, [[("branch1x1", 64, 1, 1)], five, _double(96)], "average", pooled)


def _block_c(inner: int) -> _Mixed:
    wide, high = (1, 7), (7, 1)
    seven = _branch("branch7x7", (inner, 1), (inner, wide), (192, high))
    twice = _branch("branch7x7dbl", (inner, 1), (inner, high), (inner, wide), (inner, high), (192, wide))
    return _Mixed(768, [[("branch1x1", 192, 1, 1)], seven, twice], "average", 192)


def _block_d() -> _Mixed:
    three = _branch("branch3x3", (192, 1), (320, 3), stride=2)
    seven = _branch("branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2)
    return _Mixed(768, [three, seven], "halve")


def _block_e(inputs: int, pool: _Pool) -> _Mixed:
    three: list[_Layer] = [
        ("branch3x3_1", 384, 1, 1),
        ("branch3x3_2a", 384, (1, 3), 1),
        ("branch3x3_2b", 384, (3, 1), 1),
    ]
    double: list[_Layer] = [
        ("branch3x3dbl_1", 448, 1, 1),
        ("branch3x3dbl_2", 384, 3, 1),
        ("branch3x3dbl_3a", 384, (1, 3), 1),
        ("branch3x3dbl_3b", 384, (3, 1), 1),
    ]
    return _Mixed(inputs, [[("branch1x1", 320, 1, 1)], three, double], pool, 192)
