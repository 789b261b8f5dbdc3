"""Sampling of a DDPM, compiled, and by an eager torch loop: `python benchmarks/diffusion_sampling.py`.

Both take the same steps of the same network with the same weights, in one process, on one thread; the two
networks must say the same, or the script stops. The first call, which compiles, is not timed; its time is
shown beside. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppgen.models import DDPM
from ppgen.models.networks.conditioning import FREQUENCIES
from ppgen.models.networks.unet import GROUPS

STEPS = 100
MODELS: dict[str, dict[str, Any]] = {
    "MLP 256x3, 2 entries": {"shape": (2,), "network": "mlp"},
    "MLP 256x3, 64 entries": {"shape": (64,), "network": "mlp"},
    "U-Net 32, 8x8": {"shape": (8, 8), "network": "unet", "width": 32, "depth": 2},
    "U-Net 32, 28x28": {"shape": (28, 28), "network": "unet", "width": 32, "depth": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=64, help="how many rows to draw at once")
    rows = parser.parse_args().rows
    torch.set_num_threads(1)
    print(f"{'network':24} {'compile':>9} {'compiled':>9} {'torch':>9} {'ratio':>6}   ({STEPS} steps)")
    for name, settings in MODELS.items():
        family = DDPM(steps=STEPS, **settings)
        family.network = jax.tree.map(_awake, family.network)
        first, compiled, eager = _measure(family, rows)
        print(
            f"{name:24} {first:7.2f} s {compiled:7.2f} s {eager:7.2f} s {eager / compiled:5.1f}x", flush=True
        )


def _measure(family: DDPM, rows: int) -> tuple[float, float, float]:
    network = _in_torch(family.network.body)
    _check_same(family, network)
    first = _seconds(lambda: family.sample(rows, seed=0))
    compiled = min(_seconds(lambda: family.sample(rows, seed=1)) for _ in range(3))
    eager = min(_seconds(lambda: _loop(family, network, rows)) for _ in range(3))
    return first, compiled, eager


def _loop(family: DDPM, network: Callable[..., Tensor], rows: int) -> Tensor:
    """The program's steps as one writes them in torch."""
    strengths, steps = family.program.strengths, family.program.steps
    alphas, sigmas = torch.tensor(strengths.alphas).float(), torch.tensor(strengths.sigmas).float()
    with torch.no_grad():
        z = torch.randn(rows, *family.shape)
        for i in reversed(range(1, steps)):
            t = torch.full((rows,), (i + 1) / steps)
            guess = (z - sigmas[i] * network(z, t)) / alphas[i]
            keep, data, _, spread, *_ = (float(values[i - 1]) for values in strengths.transitions)
            z = keep * z + data * guess + spread * torch.randn_like(z)
        return (z - sigmas[0] * network(z, torch.full((rows,), 1 / steps))) / alphas[0]


def _check_same(family: DDPM, network: Callable[..., Tensor]) -> None:
    z, t = (
        np.random.default_rng(0).normal(size=(3, *family.shape)).astype(np.float32),
        np.float32([0.1, 0.5, 1]),
    )
    said = network(torch.tensor(z), torch.tensor(t)).detach()
    np.testing.assert_allclose(
        family.program.outputs(jnp.asarray(z), jnp.asarray(t)), said, rtol=1e-3, atol=1e-4
    )


# -- the networks in torch, with the arrays of the others --------------------------------------------------


def _in_torch(body: Any) -> Callable[..., Tensor]:
    body = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)) if hasattr(leaf, "dtype") else leaf, body)
    return (lambda z, t: _unet(body, z, t)) if hasattr(body, "middle") else (lambda z, t: _mlp(body, z, t))


def _told(told: Any, t: Tensor) -> Tensor:
    angles = math.pi * t[:, None] * 64 ** torch.linspace(0, 1, FREQUENCIES)
    first, last = told.time.layers
    vector = torch.cat([2 * t[:, None] - 1, angles.sin(), angles.cos()], 1)
    return F.silu(_linear(last, F.silu(_linear(first, vector))))


def _mlp(body: Any, z: Tensor, t: Tensor) -> Tensor:
    told, h = _told(body.told, t), _linear(body.first, z.flatten(1))
    for block in body.blocks:
        normed = F.layer_norm(h, h.shape[1:], block.norm.weight, block.norm.bias)
        h = h + _linear(block.outer, F.silu(_linear(block.inner, normed) + _linear(block.told, told)))
    return _linear(body.last, F.silu(h)).view(z.shape)


def _unet(body: Any, z: Tensor, t: Tensor) -> Tensor:
    told, h, passed = _told(body.told, t), _conv(body.first, z[:, None]), []
    for block, halve in zip(body.down, body.halve, strict=True):
        h = _block(block, h, told)
        passed.append(h)
        h = _conv(halve, h)
    before, attention, after = body.middle
    h = _block(after, _attention(attention, _block(before, h, told)), told)
    for block in body.up:
        beside = passed.pop()
        doubled = h.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : beside.shape[2], : beside.shape[3]]
        h = _block(block, torch.cat([doubled, beside], 1), told)
    return _conv(body.last, F.silu(_norm(body.norm, h)))[:, 0]


def _block(block: Any, h: Tensor, told: Tensor) -> Tensor:
    inner = _conv(block.convolutions[0], F.silu(_norm(block.norms[0], h)))
    inner = inner + _linear(block.told, told)[:, :, None, None]
    inner = _conv(block.convolutions[1], F.silu(_norm(block.norms[1], inner)))
    return (h if block.shortcut is None else _conv(block.shortcut, h)) + inner


def _attention(attention: Any, h: Tensor) -> Tensor:
    pixels = _norm(attention.norm, h).flatten(2).transpose(1, 2)  # (n, pixels, channels)
    heads = attention.heads
    split = [
        F.linear(pixels, projection.weight).unflatten(-1, (heads.num_heads, -1)).transpose(1, 2)
        for projection in (heads.query_proj, heads.key_proj, heads.value_proj)
    ]
    mixed = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
    return h + F.linear(mixed, heads.output_proj.weight).transpose(1, 2).reshape(h.shape)


def _norm(norm: Any, h: Tensor) -> Tensor:
    return F.group_norm(h, GROUPS, norm.scale, norm.shift)


def _conv(conv: Any, h: Tensor) -> Tensor:
    weight = conv.weight.view(conv.size, conv.size, h.shape[1], -1).permute(3, 2, 0, 1)
    return F.conv2d(h, weight, conv.bias, conv.stride, conv.size // 2)


def _linear(linear: Any, h: Tensor) -> Tensor:
    return F.linear(h, linear.weight, linear.bias)


def _awake(leaf: Any) -> Any:
    """Weights that say something where training has not yet: the last layer starts at 0."""
    if not hasattr(leaf, "dtype") or np.asarray(leaf).any():
        return leaf
    return 0.02 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)


def _seconds(draw: Callable[[], Any]) -> float:
    start = time.process_time()
    draw()
    return time.process_time() - start


if __name__ == "__main__":
    main()
