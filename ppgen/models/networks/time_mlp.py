"""A multilayer perceptron given a time and a class. (JAX.)"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from ppgen.models.networks.conditioning import Conditioning

__all__ = ["TimeMLP"]


class TimeMLP(eqx.Module):
    """Residual blocks, each shifted by an embedding of time and class.

    Args:
        inputs, outputs: shapes of one row, flattened inside.
        width: of the hidden layers.
        depth: how many residual blocks.
        dropout: within each block, in training.
        classes: the number of classes, if any.
        key: of the initial weights; the last layer starts at 0.

    Example:
        >>> network = TimeMLP((2,), (2, 3), width=16, depth=2, key=jax.random.key(0))
        >>> network(jnp.ones(2), jnp.array(0.5)).shape
        (2, 3)
    """

    first: eqx.nn.Linear
    blocks: tuple[_Block, ...]
    last: eqx.nn.Linear
    told: Conditioning
    outputs: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        *,
        width: int,
        depth: int,
        dropout: float = 0.0,
        classes: int | None = None,
        key: jax.Array,
    ) -> None:
        first, last, told, *blocks = jax.random.split(key, 3 + depth)
        self.first = eqx.nn.Linear(math.prod(inputs), width, key=first)
        self.blocks = tuple(_Block(width, dropout, key=block) for block in blocks)
        self.last = _silent(eqx.nn.Linear(width, math.prod(outputs), key=last))
        self.told = Conditioning(width, classes, key=told)
        self.outputs = outputs

    def __call__(
        self, x: jax.Array, t: jax.Array, label: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """The outputs of one row ``x`` at one time ``()``; with a key, under dropout."""
        told = self.told(t, label)
        h = self.first(x.reshape(-1))
        for i, block in enumerate(self.blocks):
            h = block(h, told, None if key is None else jax.random.fold_in(key, i))
        return self.last(jax.nn.silu(h)).reshape(self.outputs)


class _Block(eqx.Module):
    norm: eqx.nn.LayerNorm
    inner: eqx.nn.Linear
    outer: eqx.nn.Linear
    told: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, width: int, dropout: float, *, key: jax.Array) -> None:
        inner, outer, told = jax.random.split(key, 3)
        self.norm = eqx.nn.LayerNorm(width)
        self.inner = eqx.nn.Linear(width, width, key=inner)
        self.outer = eqx.nn.Linear(width, width, key=outer)
        self.told = eqx.nn.Linear(width, width, key=told)
        self.dropout = eqx.nn.Dropout(dropout)

    def __call__(self, h: jax.Array, told: jax.Array, key: jax.Array | None) -> jax.Array:
        inner = jax.nn.silu(self.inner(self.norm(h)) + self.told(told))
        return h + self.outer(self.dropout(inner, key=key, inference=key is None))


def _silent(linear: eqx.nn.Linear) -> eqx.nn.Linear:
    """The same layer with zero weights, so that the network's initial output is 0."""
    return jax.tree.map(jnp.zeros_like, linear)
