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

from ppgen.data.lazy import RowArray
from ppgen.models.checks import (
    check_classes,
    check_labels,
    check_levels,
    check_positive,
    check_rows_of,
    check_shape,
)
from ppgen.models.distributions import PyroDistribution
from ppgen.program.bounds import row_bounds
from ppgen.program.family import Engine, Program, TrainingFacts
from ppgen.program.languages.pyro import LANGUAGE as PYRO
from ppgen.program.likelihood import Likelihood, Space

__all__ = ["PyroFamily", "seeded"]

CHUNK = 512  # rows that one pass of sampling or scoring holds in memory


class PyroFamily(nn.Module, ABC):
    """A generative model of rows: a Pyro program whose parameters live in this module.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        config: the constructor's arguments after ``shape``.
        objectives: what can train it, the default first.
        classes: how many classes the rows have, for a class-conditional family.

    Attributes:
        class_weights: ``(classes,)``, the share of each class in the training rows; equal before.
        objectives: what can train it, the default first.
        trained: the facts of its training so far.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    renamed: ClassVar[Mapping[str, str]] = {}
    engine: ClassVar[Engine] = "pyro"
    loc: Tensor
    scale: Tensor
    class_weights: Tensor

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        config: Mapping[str, Any],
        objectives: tuple[str, ...],
        classes: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = check_shape(shape)
        self.levels = check_levels(levels)
        self.classes = check_classes(classes)
        self.config = {"levels": self.levels, **config} | ({"classes": classes} if classes else {})
        self.objectives = objectives
        self.trained: TrainingFacts | None = None
        self._store_name = _unique_name(self)
        self.register_buffer("loc", torch.zeros(self.shape))
        self.register_buffer("scale", torch.ones(self.shape))
        if self.classes is not None:
            self.register_buffer("class_weights", torch.full((self.classes,), 1 / self.classes))

    @abstractmethod
    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: the rows ``x`` are observed where they are given, else n are sampled.

        That of a class-conditional family has a further argument, ``label (n,)``.
        """

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

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Take location and scale of each entry of continuous rows ``(n, *shape)`` as units to work in.

        With ``labels (n,)`` the share of each class is kept too.
        """
        if self.levels is None:
            self.loc.copy_(torch.from_numpy(rows.mean(0)))
            self.scale.copy_(torch.from_numpy(rows.std(0)))
        if self.classes is not None and labels is not None and (labels >= 0).any():
            counts = np.bincount(labels[labels >= 0], minlength=self.classes)
            self.class_weights.copy_(torch.from_numpy(counts / counts.sum()))

    def rows(self, x: Any) -> Tensor:
        """Check rows ``(n, *shape)`` and turn them into the tensor that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        rows = check_rows_of(x, self.shape, self.levels)
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

    def tensors(self) -> Mapping[str, np.ndarray]:
        """Parameters and buffers by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`tensors` gave."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})

    def _draw(self, n: int, seed: int, draw: Callable[..., Tensor], label: Any = None) -> np.ndarray:
        """Draw n rows by ``draw(size)``, or by ``draw(size, label)`` where rows have classes."""
        n = check_positive("n", n)
        with self._at_rest(), seeded(seed):
            labels = self._labels_to_draw(label, n)
            chunks = []
            for start in range(0, n, CHUNK):
                size = min(CHUNK, n - start)
                context = () if labels is None else (labels[start : start + size],)
                chunks.append(draw(size, *context))
            rows = torch.cat(chunks).cpu().numpy()
        return rows.astype(np.float64 if self.levels is None else np.int64)

    def _score(self, x: Any, score: Callable[..., Tensor], label: Any = None) -> np.ndarray:
        """The log density of each row by ``score(rows)``, or ``score(rows, label)`` where rows have classes.

        Without labels the classes are summed out.
        """
        rows, labels = self.rows(x), check_labels(label, self.classes, len(x))
        with self._at_rest():
            if self.classes is None:
                return _chunked(score, rows)
            if labels is not None:
                return _chunked(score, rows, torch.from_numpy(labels).to(rows.device))
            by_class = [_chunked(score, rows, self._all_of(y, len(rows))) for y in range(self.classes)]
        return np.logaddexp.reduce(np.stack(by_class) + self._log_class_weights(), axis=0)

    def _bound(self, x: Any, guide: Program, samples: int, seed: int, label: Any = None) -> Likelihood:
        rows, samples = self.rows(x), check_positive("samples", samples)
        labels = check_labels(label, self.classes, len(x))
        with self._at_rest():
            if self.classes is None or labels is not None:
                context = {} if labels is None else {"label": torch.from_numpy(labels).to(rows.device)}
                bound = row_bounds(PYRO.rows, self.model, guide, rows, samples=samples, seed=seed, **context)
                values, stderr = bound.values, bound.stderr
            else:
                # Each class has noise of its own, so that the errors of the bounds are independent.
                bounds = [
                    row_bounds(
                        PYRO.rows,
                        self.model,
                        guide,
                        rows,
                        samples=samples,
                        seed=seed + y,
                        label=self._all_of(y, len(rows)),
                    )
                    for y in range(self.classes)
                ]
                each = np.stack([bound.values for bound in bounds]) + self._log_class_weights()
                values = np.logaddexp.reduce(each, axis=0)
                share = np.exp(each - values)
                stderr = np.sqrt(sum((s * bound.stderr) ** 2 for s, bound in zip(share, bounds, strict=True)))
        how = f"importance-weighted bound, {samples} samples" if samples > 1 else "ELBO, 1 sample"
        return Likelihood(values, "lower_bound", self.space, self.dims, how, stderr)

    def _labels_to_draw(self, label: Any, n: int) -> Tensor | None:
        labels = check_labels(label, self.classes, n)
        if labels is not None:
            return torch.from_numpy(labels).to(self.loc.device)
        return None if self.classes is None else self.class_weights.multinomial(n, replacement=True)

    def _all_of(self, label: int, n: int) -> Tensor:
        return torch.full((n,), label, device=self.loc.device)

    def _log_class_weights(self) -> np.ndarray:
        with np.errstate(divide="ignore"):  # a class that training never saw has no weight
            return np.log(self.class_weights.double().cpu().numpy())[:, None]  # (classes, 1)

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


def _chunked(score: Callable[..., Tensor], *tensors: Tensor) -> np.ndarray:
    chunks = zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)
    return torch.cat([score(*chunk).double() for chunk in chunks]).cpu().numpy()
