"""An embedding of time and class, for a denoising network. (JAX.)"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

__all__ = ["Conditioning"]

FREQUENCIES = 16  # of the sinusoids that encode time, from 1 to 64 periods over [0, 1]


class Conditioning(eqx.Module):
    r"""A vector for a time in [0, 1] and a class.

    Args:
        size: of the vector.
        classes: how many classes there are; one more, the last, is the unconditional one. ``None`` for no
            classes.
        key: of the initial weights.

    References:
        Vaswani et al., *Attention Is All You Need*, 2017, arXiv:1706.03762 (waves for positions); Ho and
        Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598 (the unconditional class).

    Example:
        >>> embedding = Conditioning(8, classes=10, key=jax.random.key(0))
        >>> embedding(jnp.array(0.5), jnp.array(3)).shape
        (8,)
    """

    time: eqx.nn.MLP
    label: eqx.nn.Embedding | None

    def __init__(self, size: int, classes: int | None, *, key: jax.Array) -> None:
        time_key, label_key = jax.random.split(key)
        # Activations of ours: equinox's own final one, and JAX's compiled one, cannot be pickled.
        self.time = eqx.nn.MLP(2 * FREQUENCIES + 1, size, size, 1, _silu, _identity, key=time_key)
        self.label = None if classes is None else eqx.nn.Embedding(classes + 1, size, key=label_key)

    def __call__(self, t: jax.Array, label: jax.Array | None) -> jax.Array:
        """The vector ``(size,)`` of one time ``()`` and one class ``()``."""
        angles = jnp.pi * t * 64 ** jnp.linspace(0.0, 1.0, FREQUENCIES)
        vector = self.time(jnp.concatenate([2 * t[None] - 1, jnp.sin(angles), jnp.cos(angles)]))
        if self.label is not None and label is not None:
            vector = vector + self.label(label)
        return jax.nn.silu(vector)


def _silu(x: jax.Array) -> jax.Array:
    return jax.nn.silu(x)


def _identity(x: jax.Array) -> jax.Array:
    return x
