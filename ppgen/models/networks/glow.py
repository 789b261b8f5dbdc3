"""Glow's map: steps of normalisation, channel mixing and coupling, at several scales of an image."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.models.networks.invertible import InvertibleMap

__all__ = ["ActNorm", "GlowMap", "squeeze", "unsqueeze"]

Shape = tuple[int, int, int]


class GlowMap(InvertibleMap):
    """From images, flattened, to noise of the same length.

    At each scale a square of four pixels becomes four channels, the steps follow, and half of the channels
    leave as noise. What leaves is first standardised by what stays, so that all noise is standard normal.

    Args:
        shape: of an image, ``(channels, height, width)``; each scale halves height and width.
        context: the length of the module's argument; 0 for none.
        scales: how many scales.
        steps: flow steps at each scale.
        channels: of the hidden layers of the coupling networks.
        dropout: on these, in training.

    References:
        Kingma and Dhariwal, *Glow*, 2018, arXiv:1807.03039; the multi-scale architecture is from Dinh,
        Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.
    """

    def __init__(
        self, shape: Shape, context: int = 0, *, scales: int, steps: int, channels: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape = shape
        self.scales = nn.ModuleList()
        c, _, _ = shape
        for scale in range(scales):
            last = scale == scales - 1
            self.scales.append(_Scale(4 * c, context, steps, channels, dropout, split=not last))
            c = 4 * c if last else 2 * c

    def to_noise(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Noise ``(..., d)`` of flattened images ``(..., d)``, and the log-determinant ``(...)``."""
        h, context = self._as_images(x, context)
        total, noise = h.new_zeros(len(h)), []
        for scale in self._scales():
            h, left, log_det = scale(squeeze(h), context)
            noise.append(left.flatten(1))
            total = total + log_det
        z = torch.cat([*noise, h.flatten(1)], 1)  # (n, d)
        return z.reshape(x.shape), total.reshape(x.shape[:-1])

    def to_data(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The flattened images of noise ``(..., d)``."""
        images, context = self._as_images(z, context)
        shapes = self._shapes()
        sizes = [left[0] * left[1] * left[2] for left, _ in shapes]
        *noise, rest = images.flatten(1).split([*sizes, images[0].numel() - sum(sizes)], 1)
        h = rest.reshape(-1, *shapes[-1][1])
        for scale, left, (shape, _) in zip(
            reversed(self._scales()), reversed(noise), reversed(shapes), strict=True
        ):
            h = unsqueeze(scale.inverse(h, left.reshape(len(h), *shape), context))
        return h.reshape(z.shape)

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set every normalisation such that its outputs on rows ``(n, d)`` have mean 0 and variance 1."""
        norms = [module for module in self.modules() if isinstance(module, ActNorm)]
        hooks = [norm.register_forward_pre_hook(lambda norm, inputs: norm.fit(inputs[0])) for norm in norms]
        try:
            with torch.no_grad():
                self.to_noise(x, context)
        finally:
            for hook in hooks:
                hook.remove()

    def _as_images(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if context is not None:
            context = context.expand(*x.shape[:-1], -1).reshape(-1, context.shape[-1])
        return x.reshape(-1, *self.shape), context

    def _scales(self) -> list[_Scale]:
        return [cast(_Scale, scale) for scale in self.scales]

    def _shapes(self) -> list[tuple[Shape, Shape]]:
        """What leaves and what stays at each scale."""
        c, height, width = self.shape
        shapes = []
        for scale in self._scales():
            c, height, width = 4 * c, height // 2, width // 2
            left = c // 2 if scale.split is not None else 0
            c -= left
            shapes.append(((left, height, width), (c, height, width)))
        return shapes


def squeeze(x: Tensor) -> Tensor:
    """Images ``(n, c, h, w)`` as ``(n, 4 c, h / 2, w / 2)``: each square of four pixels becomes channels."""
    return F.pixel_unshuffle(x, 2)


def unsqueeze(x: Tensor) -> Tensor:
    """The inverse of :func:`squeeze`.

    Example:
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> bool((unsqueeze(squeeze(x)) == x).all())
        True
    """
    return F.pixel_shuffle(x, 2)


class _Scale(nn.Module):
    """The steps at one scale, and the split at its end."""

    def __init__(
        self, c: int, context: int, steps: int, channels: int, dropout: float, *, split: bool
    ) -> None:
        super().__init__()
        layers = [(ActNorm(c), _Mixing(c), _Coupling(c, context, channels, dropout)) for _ in range(steps)]
        self.layers = nn.ModuleList(layer for step in layers for layer in step)
        self.split = _Network(c // 2, c, context, channels, dropout) if split else None

    def forward(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        total = h.new_zeros(len(h))
        for layer in self.layers:
            h, log_det = layer(h, context)
            total = total + log_det
        if self.split is None:
            return h, h[:, :0], total
        h, left = h.chunk(2, 1)
        shift, log_scale = self.split(h, context)
        return h, (left + shift) * log_scale.exp(), total + log_scale.flatten(1).sum(1)

    def inverse(self, h: Tensor, left: Tensor, context: Tensor | None) -> Tensor:
        if self.split is not None:
            shift, log_scale = self.split(h, context)
            h = torch.cat([h, left * (-log_scale).exp() - shift], 1)
        for layer in reversed(self.layers):
            h = cast(_Layer, layer).inverse(h, context)
        return h


class _Layer(Protocol):
    """What every layer can do besides its forward pass."""

    def inverse(self, h: Tensor, context: Tensor | None) -> Tensor: ...


class ActNorm(nn.Module):
    """A shift and a positive scale for each channel; :meth:`fit` takes the first ones from data."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def fit(self, h: Tensor) -> None:
        """Make the outputs for ``h (n, c, height, width)`` have mean 0 and variance 1 in each channel."""
        mean, spread = h.mean((0, 2, 3)), h.std((0, 2, 3), correction=0)
        self.shift.copy_(-mean[:, None, None])
        self.log_scale.copy_(-spread.clamp_min(1e-3).log()[:, None, None])  # a constant channel stays finite

    def forward(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The outputs and the log-determinant ``(n,)``."""
        log_det = self.log_scale.sum() * h.shape[2] * h.shape[3]
        return (h + self.shift) * self.log_scale.exp(), log_det.expand(len(h))

    def inverse(self, h: Tensor, context: Tensor | None) -> Tensor:
        """The inputs of these outputs."""
        return h * (-self.log_scale).exp() - self.shift


class _Mixing(nn.Module):
    """An invertible matrix over the channels of each pixel, kept as permutation, lower and upper triangle."""

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation, _ = torch.linalg.qr(torch.randn(channels, channels))
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower = nn.Parameter(lower.tril(-1))
        self.upper = nn.Parameter(upper.triu(1))
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def forward(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        mixed = torch.einsum("ij,njhw->nihw", self.permutation @ lower @ upper, h)
        return mixed, (self.log_diagonal.sum() * h.shape[2] * h.shape[3]).expand(len(h))

    def inverse(self, h: Tensor, context: Tensor | None) -> Tensor:
        lower, upper = self._triangles()
        pixels = self.permutation.T @ h.flatten(2)  # (n, c, h w)
        pixels = torch.linalg.solve_triangular(lower, pixels, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, pixels, upper=True).unflatten(2, h.shape[2:])

    def _triangles(self) -> tuple[Tensor, Tensor]:
        diagonal = self.sign * self.log_diagonal.exp()
        ones = torch.eye(len(diagonal), dtype=diagonal.dtype, device=diagonal.device)
        return self.lower.tril(-1) + ones, self.upper.triu(1) + diagonal.diag()


class _Coupling(nn.Module):
    """Half of the channels pass, and say how the other half is shifted and scaled."""

    def __init__(self, c: int, context: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.network = _Network(c // 2, c, context, channels, dropout)

    def forward(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        passed, changed = h.chunk(2, 1)
        shift, log_scale = self.network(passed, context)
        return torch.cat([passed, (changed + shift) * log_scale.exp()], 1), log_scale.flatten(1).sum(1)

    def inverse(self, h: Tensor, context: Tensor | None) -> Tensor:
        passed, changed = h.chunk(2, 1)
        shift, log_scale = self.network(passed, context)
        return torch.cat([passed, changed * (-log_scale).exp() - shift], 1)


class _Network(nn.Module):
    """Three convolutions that give a shift and a log scale in (-2, 2); both start at 0."""

    def __init__(self, inputs: int, outputs: int, context: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Conv2d(inputs, channels, 3, padding=1)
        self.context = nn.Linear(context, channels, bias=False) if context else None
        self.second = nn.Conv2d(channels, channels, 1)
        self.last = nn.Conv2d(channels, outputs, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        h = self.first(h)
        if self.context is not None:
            h = h + self.context(context)[:, :, None, None]
        shift, log_scale = self.last(self.dropout(F.silu(self.second(self.dropout(F.silu(h)))))).chunk(2, 1)
        return shift, 2 * torch.tanh(log_scale / 2)
