"""The base of the families in NumPyro: a program that is one immutable pytree."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.contrib.module import eqx_module

from ppgen.checks import check_integer
from ppgen.data.lazy import RowArray
from ppgen.data.rows import as_rows_of
from ppgen.models.checks import check_labels
from ppgen.models.family import CHUNK, Family, as_input, in_values
from ppgen.program.family import Engine
from ppgen.style.bar import ProgressBar

__all__ = ["PytreeFamily", "PytreeProgram", "draw_rows", "in_chunks", "score_rows"]

_UNITS = ("loc", "scale", "class_weights")


class PytreeProgram(eqx.Module):
    """A NumPyro program with its parameters: an immutable pytree, which JAX compiles and differentiates.

    A subclass adds the program, :meth:`model`, and the functions that objectives and samplers need.

    Attributes:
        network: the equinox module with all learned parameters.
        loc, scale: ``shape``, the location and scale of each entry of continuous training data.
        class_weights: ``(classes,)``, the share of each class in the training set; equal before.
        shape, levels, classes: of the data, as settings of the family.
    """

    network: Any
    loc: jax.Array
    scale: jax.Array
    class_weights: jax.Array
    shape: tuple[int, ...] = eqx.field(static=True)
    levels: int | None = eqx.field(static=True)
    classes: int | None = eqx.field(static=True)

    @classmethod
    def initial(
        cls,
        network: Any,
        shape: tuple[int, ...],
        levels: int | None,
        classes: int | None = None,
        **fields: Any,
    ) -> Any:
        """The untrained program, in units of 1; ``fields`` are those of the subclass."""
        loc, scale = jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.float32)
        weights = jnp.full(classes or 1, 1 / (classes or 1), jnp.float32)
        return cls(network, loc, scale, weights, shape, levels, classes, **fields)

    @abstractmethod
    def model(self, x: Any = None, n: int = 1) -> Any:
        """The program: ``x`` is observed if given, else n examples are sampled."""

    @property
    def dims(self) -> int:
        """How many numbers one example holds."""
        return int(np.prod(self.shape))

    def with_network(self, network: Any) -> Any:
        """The same program with another network."""
        return replace(self, network=network)

    def registered(self) -> Any:
        """The same program, whose network NumPyro knows as its parameters."""
        return self.with_network(eqx_module("network", self.network))

    def standardised(self, rows: RowArray) -> Any:
        """The same program in the units of the training set ``(n, *shape)``."""
        if self.levels is not None:
            return self
        loc, scale = (jnp.asarray(moment, jnp.float32) for moment in (rows.mean(0), rows.std(0)))
        return replace(self, loc=loc, scale=scale)

    def rows(self, x: Any) -> jax.Array:
        """Check examples ``(n, *shape)`` and turn them into the array that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        rows = as_rows_of(x, self.shape, self.levels)
        return jnp.asarray(rows, jnp.float32 if self.levels is None else jnp.int32)

    def as_input(self, x: jax.Array) -> jax.Array:
        """Scale data for a network: levels spread over [-1, 1], floats standardised."""
        return as_input(x, self.levels, self.loc, self.scale)


class PytreeFamily(Family):
    """A generative model that holds a :class:`PytreeProgram`, and changes it in training.

    A subclass creates :attr:`program` in ``build``.

    Attributes:
        program: the network, the units of the data, and the functions that compute with them.
    """

    engine: ClassVar[Engine] = "numpyro"

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.program: Any
        self.build()

    def model(self, x: Any = None, n: int = 1) -> Any:
        """The program: ``x`` is observed if given, else n examples are sampled.

        A class-conditional family's program has a further argument, ``label (n,)``.
        """
        return self.program.model(x, n)

    @property
    def network(self) -> Any:
        """The equinox module with all learned parameters. Setting it replaces it with your own."""
        return self.program.network

    @network.setter
    def network(self, network: Any) -> None:
        self.program = self.program.with_network(network)

    @property
    def class_weights(self) -> np.ndarray:
        """The share of each class in the training set ``(classes,)``; equal before."""
        return np.asarray(self.program.class_weights)

    @property
    def n_parameters(self) -> int:
        """The number of trainable parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.network, eqx.is_inexact_array)))

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take units to work in from the training set ``(n, *shape)``, and the shares of classes."""
        self.program = self.program.standardised(rows)
        shares = self._shares(labels)
        if shares is not None:
            self.program = replace(self.program, class_weights=jnp.asarray(shares, jnp.float32))

    def as_input(self, x: Any) -> Any:
        """Scale data for a network: levels spread over [-1, 1], floats standardised."""
        return self.program.as_input(x)

    def rows(self, x: Any) -> jax.Array:
        """Check examples ``(n, *shape)`` and turn them into the array that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        return self.program.rows(x)

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The arrays of the network and the units, by name."""
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(self.network, eqx.is_array))
        arrays = {f"network{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}
        return arrays | {name: np.asarray(getattr(self.program, name)) for name in _UNITS}

    def load_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Load what :meth:`tensors` returned.

        Raises:
            KeyError, ValueError: if an array is missing, or of another shape.
        """
        arrays, static = eqx.partition(self.network, eqx.is_array)

        def fill(path: Any, leaf: jax.Array) -> jax.Array:
            array = tensors[f"network{jax.tree_util.keystr(path)}"]
            if array.shape != leaf.shape:
                raise ValueError(f"{jax.tree_util.keystr(path)} has shape {array.shape}, not {leaf.shape}")
            return jnp.asarray(array, leaf.dtype)

        network = eqx.combine(jax.tree_util.tree_map_with_path(fill, arrays), static)
        units = {name: jnp.asarray(tensors[name]) for name in _UNITS}
        self.program = replace(self.program, network=network, **units)

    def _class_weights(self) -> np.ndarray:
        return self.class_weights


def draw_rows(
    program: PytreeProgram,
    n: int,
    seed: int,
    draw: Callable[..., jax.Array],
    label: Any = None,
    **settings: Any,
) -> np.ndarray:
    """Draw examples ``(n, *shape)`` by ``draw(program, key, size, **settings)``, which is compiled.

    A program with classes takes labels after the size: those given, or drawn by their frequencies.
    """
    n, key = check_integer("n", n), jax.random.key(check_integer("seed", seed, least=0))
    size = min(CHUNK, n)
    labels = _labels_to_draw(program, label, n, key)
    chunks = []
    for i, start in enumerate(range(0, n, size)):
        context = () if labels is None else (np.resize(labels[start : start + size], size),)
        chunks.append(np.asarray(draw(program, jax.random.fold_in(key, i), size, *context, **settings)))
    return in_values(np.concatenate(chunks)[:n], program.levels)


def score_rows(
    program: PytreeProgram, x: Any, score: Callable[..., jax.Array], **settings: Any
) -> np.ndarray:
    """The log density of each example of ``x`` by ``score(program, rows, **settings)``, which is compiled."""
    return in_chunks(lambda *chunk: score(program, *chunk, **settings), program.rows(x))


def in_chunks(
    score: Callable[..., jax.Array],
    *arrays: Any,
    together: int = CHUNK,
    progress: bool = False,
) -> np.ndarray:
    """Apply ``score`` to the rows of some arrays in chunks, and return double precision."""
    n = len(arrays[0])
    size = min(together, n)
    values = []
    with ProgressBar("Scoring rows", n, show=progress) as bar:
        for start in range(0, n, size):
            # The last chunk is padded, so that only one program is compiled.
            chunk = [np.resize(array[start : start + size], (size, *array.shape[1:])) for array in arrays]
            values.append(np.asarray(score(*chunk), np.float64))
            bar.advance(size)
    return np.concatenate(values)[:n]


def _labels_to_draw(program: PytreeProgram, label: Any, n: int, key: jax.Array) -> np.ndarray | None:
    labels = check_labels(label, program.classes, n)
    if labels is not None or program.classes is None:
        return labels
    log_weights = jnp.log(program.class_weights)
    return np.asarray(jax.random.categorical(jax.random.fold_in(key, 2**31 - 1), log_weights, shape=(n,)))
