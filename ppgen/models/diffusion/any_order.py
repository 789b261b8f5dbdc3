"""Distributions over entries that appear one after the other, in an order that differs by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import lax
from numpyro.distributions import constraints

__all__ = ["AnyOrder", "Logits", "ranks"]

Logits = Callable[[jax.Array, jax.Array], jax.Array]
"""From examples ``(n, *shape)`` and which of their entries are hidden, logits ``(n, *shape, levels)``."""


class AnyOrder(dist.Distribution):
    r"""Discrete data, :math:`p(x) = \prod_k p(x_{\sigma_k} \mid x_{\sigma_1}, \dots, x_{\sigma_{k-1}})`.

    Args:
        logits: of each entry, given the example and a mask of its hidden entries.
        rank: ``(n, *shape)``, the place of each entry in its row's order, from 0.
        shape: the shape of one example.

    Example:
        >>> fair = AnyOrder(lambda x, hidden: jnp.zeros((*x.shape, 2)), jnp.array([[1, 0, 2]]), (3,))
        >>> fair.log_prob(jnp.array([[0, 1, 1]])).round(4).tolist()
        [-2.079400062561035]
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("rank",)
    pytree_aux_fields = ("logits", "shape_of_row")

    def __init__(self, logits: Logits, rank: jax.Array, shape: tuple[int, ...]) -> None:
        self.logits = logits
        self.rank = rank
        self.shape_of_row = shape
        super().__init__(rank.shape[:1], shape)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        """Discrete data from 0 up."""
        return constraints.independent(constraints.nonnegative_integer, len(self.shape_of_row))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log probability of each example ``(n,)``: one pass through the network an entry."""

        def add(total: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
            log_p = jax.nn.log_softmax(self.logits(value, self.rank >= k))
            chosen = jnp.take_along_axis(log_p, value[..., None], -1)[..., 0]  # (n, *shape)
            return total + jnp.where(self.rank == k, chosen, 0.0).sum(self._entries), None

        start = jnp.zeros(self.batch_shape)
        return lax.scan(add, start, jnp.arange(self._length))[0]

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw rows ``(*sample_shape, n, *shape)``, one entry after the other."""
        if not sample_shape:
            return self.sample_in(key, self._length)
        keys = jax.random.split(key, sample_shape)
        draw = lambda key: self.sample_in(key, self._length)  # noqa: E731
        for _ in sample_shape:
            draw = jax.vmap(draw)
        return draw(keys)

    def sample_in(self, key: jax.Array, steps: int) -> jax.Array:
        """Draw examples ``(n, *shape)`` in a number of steps: entries of the same step as if independent."""
        borders = (jnp.arange(steps + 1) * self._length) // steps

        def appear(rows: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
            begin, end = borders[step], borders[step + 1]
            logits = self.logits(rows, self.rank >= begin)
            drawn = jax.random.categorical(jax.random.fold_in(key, step), logits)
            return jnp.where((self.rank >= begin) & (self.rank < end), drawn, rows), None

        hidden = jnp.zeros(self.rank.shape, int)  # any value: the mask marks them as hidden
        return lax.scan(appear, hidden, jnp.arange(steps))[0]

    @property
    def _entries(self) -> tuple[int, ...]:
        return tuple(range(1, 1 + len(self.shape_of_row)))

    @property
    def _length(self) -> int:
        return self.rank[0].size


def ranks(time: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The place of each entry, from 0, where those with the largest times ``(n, d)`` come first."""
    place = jnp.argsort(jnp.argsort(-time, axis=-1), axis=-1)
    return place.reshape(len(time), *shape)
