"""What the families written in NumPyro have in common: rows in, rows out, and a network of their own."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ppgen.data.lazy import RowArray
from ppgen.models.checks import (
    check_classes,
    check_labels,
    check_levels,
    check_positive,
    check_rows_of,
    check_shape,
)
from ppgen.program.family import Engine, TrainingFacts
from ppgen.program.likelihood import Likelihood, Space
from ppgen.style.bar import ProgressBar

__all__ = ["NumPyroFamily"]

CHUNK = 512  # rows that one pass of sampling or scoring holds in memory


class NumPyroFamily(ABC):
    """A generative model of rows: a NumPyro program whose parameters are the arrays of an equinox module.

    The subclass sets :attr:`network` in its constructor. What it computes from rows it computes with
    ``self.network``, so that :meth:`with_network` makes a copy of it that JAX can differentiate.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        config: the constructor's arguments after ``shape``.
        objectives: what can train it, the default first.
        classes: how many classes the rows have, for a class-conditional family.

    Attributes:
        network: the equinox module with all that is learned.
        loc, scale: ``shape``, the location and scale of each entry of continuous training rows.
        class_weights: ``(classes,)``, the share of each class in the training rows; equal before.
        trained: the facts of its training so far.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    renamed: ClassVar[Mapping[str, str]] = {}
    engine: ClassVar[Engine] = "numpyro"
    network: Any

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        config: Mapping[str, Any],
        objectives: tuple[str, ...],
        classes: int | None = None,
    ) -> None:
        self.shape = check_shape(shape)
        self.levels = check_levels(levels)
        self.classes = check_classes(classes)
        self.config = {"levels": self.levels, **config} | ({"classes": classes} if classes else {})
        self.objectives = objectives
        self.trained: TrainingFacts | None = None
        self._functions: dict[Any, Callable[..., Any]] = {}  # compiled, by what they compute
        self.loc = np.zeros(self.shape, np.float32)
        self.scale = np.ones(self.shape, np.float32)
        self.class_weights = np.full(classes or 1, 1 / (classes or 1), np.float32)

    @classmethod
    def like(cls, data: Any, **settings: Any) -> Any:
        """The family for the rows of a dataset."""
        return cls(data.shape, data.levels, **settings)

    @abstractmethod
    def model(self, x: Any = None, n: int = 1) -> Any:
        """The program: the rows ``x`` are observed where they are given, else n are sampled.

        That of a class-conditional family has a further argument, ``label (n,)``.
        """

    @abstractmethod
    def log_prob(self, x: Any) -> Likelihood:
        """The log density of each row of ``x (n, *shape)``, a bound on it, or an estimate."""

    @abstractmethod
    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values."""

    @property
    def dims(self) -> int:
        """How many numbers one row holds."""
        return int(np.prod(self.shape))

    @property
    def space(self) -> Space:
        """Where the log density lives."""
        return "continuous" if self.levels is None else "discrete"

    @property
    def n_parameters(self) -> int:
        """How many numbers training changes."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.network, eqx.is_inexact_array)))

    def with_network(self, network: Any) -> Any:
        """A shallow copy with another network, whose arrays may be JAX's tracers."""
        other = copy.copy(self)
        other.network = network
        return other

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take location and scale of each entry of continuous rows ``(n, *shape)`` as units to work in.

        With ``labels (n,)`` the share of each class is kept too.
        """
        if self.levels is None:
            self.loc = np.asarray(rows.mean(0), np.float32)
            self.scale = np.asarray(rows.std(0), np.float32)
        if self.classes is not None and labels is not None:
            counts = np.bincount(labels[labels >= 0], minlength=self.classes)
            self.class_weights = np.asarray(counts / counts.sum(), np.float32)

    def rows(self, x: Any) -> jax.Array:
        """Check rows ``(n, *shape)`` and turn them into the array that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        rows = check_rows_of(x, self.shape, self.levels)
        return jnp.asarray(rows, jnp.float32 if self.levels is None else jnp.int32)

    def as_input(self, x: jax.Array) -> jax.Array:
        """Rows as a network likes to read them: levels spread over [-1, 1], floats standardised."""
        return (x - self.loc) / self.scale if self.levels is None else x * (2 / (self.levels - 1)) - 1

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The arrays of the network and the units, by name."""
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(self.network, eqx.is_array))
        arrays = {f"network{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}
        return arrays | {"loc": self.loc, "scale": self.scale, "class_weights": self.class_weights}

    def load_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`tensors` gave.

        Raises:
            KeyError, ValueError: if an array is missing, or of another shape.
        """
        arrays, static = eqx.partition(self.network, eqx.is_array)

        def fill(path: Any, leaf: jax.Array) -> jax.Array:
            array = tensors[f"network{jax.tree_util.keystr(path)}"]
            if array.shape != leaf.shape:
                raise ValueError(f"{jax.tree_util.keystr(path)} has shape {array.shape}, not {leaf.shape}")
            return jnp.asarray(array, leaf.dtype)

        self.network = eqx.combine(jax.tree_util.tree_map_with_path(fill, arrays), static)
        self.loc, self.scale = np.array(tensors["loc"]), np.array(tensors["scale"])
        self.class_weights = np.array(tensors["class_weights"])

    def _draw(self, n: int, seed: int, draw: Callable[..., jax.Array], label: Any = None) -> np.ndarray:
        """Draw n rows by ``draw(family, key, size)``, or ``draw(family, key, size, label)`` with classes.

        ``draw`` is compiled once a size: write a function or an unbound method, not a lambda.
        """
        n, key = check_positive("n", n), jax.random.key(check_positive("seed", seed, least=0))
        size = min(CHUNK, n)
        compiled = self._compiled(draw, size)
        labels = self._labels_to_draw(label, n, key)
        chunks = []
        for i, start in enumerate(range(0, n, size)):
            context = () if labels is None else (np.resize(labels[start : start + size], size),)
            chunks.append(np.asarray(compiled(jax.random.fold_in(key, i), *context)))
        rows = np.concatenate(chunks)[:n]
        return rows.astype(np.float64 if self.levels is None else np.int64)

    def _score(self, x: Any, score: Callable[..., jax.Array], label: Any = None) -> np.ndarray:
        """The log density of each row by ``score(family, rows)``; with classes, ``label`` last.

        Without labels the classes are summed out. ``score`` is compiled once: write a function or an
        unbound method, not a lambda.
        """
        rows, labels = self.rows(x), check_labels(label, self.classes, len(x))
        compiled = self._compiled(score)
        if self.classes is None:
            return self._chunked(compiled, rows)
        if labels is not None:
            return self._chunked(compiled, rows, jnp.asarray(labels))
        by_class = [self._chunked(compiled, rows, jnp.full(len(rows), y)) for y in range(self.classes)]
        with np.errstate(divide="ignore"):  # a class that training never saw has no weight
            log_weights = np.log(self.class_weights.astype(np.float64))[:, None]
        return np.logaddexp.reduce(np.stack(by_class) + log_weights, axis=0)

    def _chunked(
        self,
        score: Callable[..., jax.Array],
        *arrays: jax.Array,
        together: int = CHUNK,
        progress: bool = False,
    ) -> np.ndarray:
        n = len(arrays[0])
        size = min(together, n)
        values = []
        with ProgressBar("Scoring rows", n, show=progress) as bar:
            for start in range(0, n, size):
                # The last chunk is filled up, so that one program is compiled.
                chunk = [np.resize(array[start : start + size], (size, *array.shape[1:])) for array in arrays]
                values.append(np.asarray(score(*chunk), np.float64))
                bar.advance(size)
        return np.concatenate(values)[:n]

    def _compiled(self, function: Callable[..., Any], *static: int) -> Callable[..., Any]:
        """A function of a family as a compiled function of its arrays: no training makes it stale."""
        if (function, static) not in self._functions:

            def of_arrays(arrays: tuple[Any, Any, Any], first: Any, *rest: Any) -> Any:
                other = copy.copy(self)
                other.network, other.loc, other.scale = arrays
                return function(other, first, *static, *rest)

            self._functions[function, static] = eqx.filter_jit(of_arrays)
        return functools.partial(self._functions[function, static], (self.network, self.loc, self.scale))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        other = copy.copy(self)
        for name, value in vars(self).items():
            setattr(other, name, {} if name == "_functions" else copy.deepcopy(value, memo))
        return other

    def _labels_to_draw(self, label: Any, n: int, key: jax.Array) -> np.ndarray | None:
        labels = check_labels(label, self.classes, n)
        if labels is not None or self.classes is None:
            return labels
        log_weights = jnp.log(jnp.asarray(self.class_weights))
        return np.asarray(jax.random.categorical(jax.random.fold_in(key, 2**31 - 1), log_weights, shape=(n,)))
