"""The layers of neural networks: activations, convolutions, normalisation, pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

__all__ = ["TABLE"]


# -- activations ---------------------------------------------------------------------------------------


def _softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    """Linear above the threshold, as in torch."""
    small = jnp.minimum(x * beta, threshold)  # or the exponential that is not taken would overflow
    return jnp.where(x * beta > threshold, x, jnp.log1p(jnp.exp(small)) / beta)


def _elu(x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    below = jnp.expm1(jnp.minimum(x, 0) * input_scale) * alpha
    return scale * jnp.where(x > 0, x, below)


def _gelu(x: Any, *, approximate: str = "none") -> Any:
    return jax.nn.gelu(x, approximate=approximate == "tanh")


def _hard_tanh(x: Any, low: float = -1, high: float = 1) -> Any:
    return jnp.where(x <= low, low, jnp.where(x >= high, high, x))


# -- convolutions --------------------------------------------------------------------------------------


def _convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    dims = weight.ndim - 2
    stride, padding, dilation = (_each(sizes, dims) for sizes in (stride, padding, dilation))
    pads = [(p, p) for p in padding]
    spread = [1] * dims  # zeros between the pixels of the input
    if transposed:
        weight = _as_forward_weight(weight, groups)
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        extra = _each(output_padding, dims)
        pads = [(r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True)]
        stride, spread = spread, stride
    y = lax.conv_general_dilated(
        x,
        weight,
        window_strides=stride,
        padding=pads,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )
    return y if bias is None else y + jnp.reshape(bias, (-1, *[1] * dims))


def _each(sizes: Sequence[int], dims: int) -> list[int]:
    """One number stands for every dimension."""
    return list(sizes) * (dims if len(sizes) == 1 else 1)


def _as_forward_weight(weight: Any, groups: int) -> Any:
    """A transposed convolution is a convolution of the spread input with the flipped weight."""
    inputs, outputs, *kernel = weight.shape
    split = jnp.reshape(weight, (groups, inputs // groups, outputs, *kernel))
    swapped = jnp.swapaxes(split, 1, 2).reshape(groups * outputs, inputs // groups, *kernel)
    return jnp.flip(swapped, range(2, swapped.ndim))


# -- normalisation -------------------------------------------------------------------------------------


def _normalise(x: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    mean = x.mean(axes, keepdims=True)
    scale = lax.rsqrt(x.var(axes, keepdims=True) + eps)
    return (x - mean) * scale, mean, scale


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    y, mean, scale = _normalise(x, tuple(range(-len(shape), 0)), eps)
    return _affine(y, weight, bias), mean, scale


def _group_norm(
    x: Any, weight: Any, bias: Any, n: int, channels: int, size: int, groups: int, eps: float
) -> tuple[Any, Any, Any]:
    y, mean, scale = _normalise(x.reshape(n, groups, -1), (2,), eps)
    shaped = _affine(y.reshape(x.shape), _by_channel(weight, x), _by_channel(bias, x))
    return shaped, mean.reshape(n, groups), scale.reshape(n, groups)


def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, momentum: float, eps: float
) -> tuple[Any]:
    """With the statistics learnt in training."""
    scale = lax.rsqrt(variance + eps)
    y = (x - _by_channel(mean, x)) * _by_channel(scale, x)
    return (_affine(y, _by_channel(weight, x), _by_channel(bias, x)),)


def _batch_norm_of_batch(
    x: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float
) -> tuple[Any, Any, Any]:
    """With the statistics of the batch itself."""
    y, mean, scale = _normalise(x, (0, *range(2, x.ndim)), eps)
    return _affine(y, _by_channel(weight, x), _by_channel(bias, x)), mean.ravel(), scale.ravel()


def _batch_norm_of_either(
    x: Any, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, momentum: float, eps: float
) -> tuple[Any, ...]:
    if training:
        return _batch_norm_of_batch(x, weight, bias, training, momentum, eps)
    return _batch_norm(x, weight, bias, mean, variance, momentum, eps)


def _by_channel(values: Any, x: Any) -> Any:
    return None if values is None else jnp.reshape(values, (-1, *[1] * (x.ndim - 2)))


# -- pooling and resizing ------------------------------------------------------------------------------


def _windows(
    x: Any, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], fill: Any
) -> tuple[Any, Any, Any]:
    """Every window of the last two dimensions as a last dimension, and the place of each of its entries."""
    kernel, padding = _pair(kernel), _pair(padding)
    steps = _pair(stride) if stride else kernel
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding], constant_values=fill)
    rows, columns = (
        np.arange(0, n + 2 * p - k + 1, s)[:, None] + np.arange(k)
        for n, p, k, s in zip(x.shape[-2:], padding, kernel, steps, strict=True)
    )
    cut = padded[..., rows[:, None, :, None], columns[None, :, None, :]]  # (…, H', W', k, k)
    place = (rows - padding[0])[:, None, :, None] * x.shape[-1] + (columns - padding[1])[None, :, None, :]
    return cut.reshape(*cut.shape[:-2], -1), place.reshape(*place.shape[:-2], -1), kernel[0] * kernel[1]


def _pair(sizes: Sequence[int]) -> tuple[int, int]:
    return (sizes[0], sizes[-1])


def _max_pool(
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Any, Any]:
    if ceil_mode or tuple(dilation) not in ((1,), (1, 1)):
        raise NotImplementedError("max_pool2d with dilation or ceil_mode")
    windows, places, _ = _windows(x, kernel, stride, padding, -jnp.inf)
    best = jnp.argmax(windows, -1, keepdims=True)
    chosen = jnp.take_along_axis(jnp.broadcast_to(places, windows.shape), best, -1)
    return jnp.take_along_axis(windows, best, -1)[..., 0], chosen[..., 0]


def _average_pool(
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Any:
    if ceil_mode:
        raise NotImplementedError("avg_pool2d with ceil_mode")
    windows, _, size = _windows(x, kernel, stride, padding, 0.0)
    if divisor is None and not count_include_pad:
        return windows.sum(-1) / _windows(jnp.ones_like(x), kernel, stride, padding, 0.0)[0].sum(-1)
    return windows.sum(-1) / (divisor or size)


def _adaptive_average_pool(x: Any, size: Sequence[int]) -> Any:
    """Cells of nearly equal length, from ⌊i n / m⌋ to ⌈(i + 1) n / m⌉."""
    for axis, cells in zip((-2, -1), size, strict=True):
        n = x.shape[axis]
        weights = np.zeros((cells, n))
        for i in range(cells):
            start, stop = i * n // cells, -(-(i + 1) * n // cells)
            weights[i, start:stop] = 1 / (stop - start)
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ weights.T, -1, axis)
    return x


TABLE: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x, slope=0.01: jnp.where(x > 0, x, slope * x),
    "elu": _elu,
    "gelu": _gelu,
    "silu": jax.nn.silu,
    "softplus": _softplus,
    "log_sigmoid_forward": lambda x: (jax.nn.log_sigmoid(x),),
    "hardtanh": _hard_tanh,
    "convolution": _convolution,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_native_batch_norm_legit.no_stats": _batch_norm_of_batch,
    "native_batch_norm": _batch_norm_of_either,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _average_pool,
    "_adaptive_avg_pool2d": _adaptive_average_pool,
}
