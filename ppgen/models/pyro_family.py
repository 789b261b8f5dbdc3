"""What the families written in Pyro have in common: rows in, rows out, and parameters of their own."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from ppgen.data.dataset import as_array, check_rows
from ppgen.errors import DataError
from ppgen.models.checks import check_levels, check_positive, check_shape
from ppgen.models.distributions import PyroDistribution
from ppgen.program.bounds import row_bounds
from ppgen.program.family import Engine, Program, TrainingFacts
from ppgen.program.likelihood import Likelihood, Space

__all__ = ["PyroFamily", "seeded"]

CHUNK = 512  # rows that one pass of sampling or scoring holds in memory


class PyroFamily(nn.Module, ABC):
    """A generative model of rows: a Pyro program whose parameters live in this module.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        config: the constructor's arguments after ``shape``.

    Attributes:
        objectives: what can train it, the default first.
        trained: the facts of its training so far.
    """

    engine: ClassVar[Engine] = "pyro"
    loc: Tensor
    scale: Tensor

    def __init__(
        self, shape: Any, levels: int | None, config: Mapping[str, Any], objectives: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.shape = check_shape(shape)
        self.levels = check_levels(levels)
        self.config = {"levels": self.levels, **config}
        self.objectives = objectives
        self.trained: TrainingFacts | None = None
        self._store_name = _unique_name(self)
        self.register_buffer("loc", torch.zeros(self.shape))
        self.register_buffer("scale", torch.ones(self.shape))

    @abstractmethod
    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: the rows ``x`` are observed where they are given, else n are sampled."""

    @abstractmethod
    def log_prob(self, x: Any) -> Likelihood:
        """The log density of each row of ``x (n, *shape)``, or a bound on it."""

    @property
    def dims(self) -> int:
        """How many numbers one row holds."""
        return int(np.prod(self.shape))

    @property
    def space(self) -> Space:
        """Where the log density lives."""
        return "continuous" if self.levels is None else "discrete"

    def standardise(self, rows: np.ndarray) -> None:
        """Take location and scale of each entry of continuous rows ``(n, *shape)`` as units to work in."""
        if self.levels is None:
            self.loc.copy_(torch.from_numpy(rows.mean(0)))
            self.scale.copy_(torch.from_numpy(rows.std(0)))

    def rows(self, x: Any) -> Tensor:
        """Check rows ``(n, *shape)`` and turn them into the tensor that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        rows = as_array(x, argument="x")
        if rows.shape[1:] != self.shape:
            sizes = ", ".join(map(str, self.shape))
            raise DataError(
                "x",
                got=f"an array of shape {rows.shape}",
                expected=f"(n, {sizes})",
                fix=f"Write x.reshape(-1, {sizes}), or build the model for this shape.",
            )
        check_rows(rows.astype(np.float64) if self.levels is None else rows, self.levels, argument="x")
        dtype = torch.get_default_dtype() if self.levels is None else torch.int64
        return torch.from_numpy(np.array(rows)).to(self.loc.device, dtype)

    def as_input(self, x: Tensor) -> Tensor:
        """Rows as a network likes to read them: levels spread over [-1, 1], floats standardised."""
        return (x - self.loc) / self.scale if self.levels is None else x * (2 / (self.levels - 1)) - 1

    def in_data_units(self, rows: PyroDistribution) -> PyroDistribution:
        """Take a distribution of standardised rows to the data's units; one of levels is there already."""
        if self.levels is not None:
            return rows
        return dist.TransformedDistribution(rows, [AffineTransform(self.loc, self.scale, len(self.shape))])

    def register(self) -> None:
        """Make the parameters known to Pyro under a name of this instance's own, for ``pyro.infer.SVI``."""
        pyro.module(self._store_name, self)

    def _draw(self, n: int, seed: int, draw: Callable[[int], Tensor]) -> np.ndarray:
        n = check_positive("n", n)
        with self._at_rest(), seeded(seed):
            sizes = [min(CHUNK, n - start) for start in range(0, n, CHUNK)]
            rows = torch.cat([draw(size) for size in sizes]).cpu().numpy()
        return rows.astype(np.float64 if self.levels is None else np.int64)

    def _score(self, x: Any, score: Callable[[Tensor], Tensor]) -> np.ndarray:
        with self._at_rest():
            return torch.cat([score(rows).double() for rows in self.rows(x).split(CHUNK)]).cpu().numpy()

    def _bound(self, x: Any, guide: Program, samples: int, seed: int) -> Likelihood:
        rows, samples = self.rows(x), check_positive("samples", samples)
        with self._at_rest():
            bound = row_bounds(self.model, guide, rows, samples=samples, seed=seed)
        how = f"importance-weighted bound, {samples} samples" if samples > 1 else "ELBO, 1 sample"
        return Likelihood(bound.values, "lower_bound", self.space, self.dims, how, bound.stderr)

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        # In a parameter store of its own: what a user keeps in Pyro's global one is not read, not changed.
        training = self.training
        try:
            with torch.no_grad(), pyro.get_param_store().scope():
                self.eval()
                yield
        finally:
            self.train(training)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._store_name = _unique_name(self)  # a copy has parameters of its own


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with a seed, and leave PyTorch's own random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_positive("seed", seed, least=0))
        yield


def _unique_name(family: PyroFamily) -> str:
    return f"{type(family).__name__}-{uuid.uuid4().hex[:12]}"
