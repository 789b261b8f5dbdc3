"""Families whose parameters live in a torch module: programs in Pyro."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from ppgen.checks import check_integer
from ppgen.data.lazy import RowArray
from ppgen.data.rows import as_rows_of
from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_labels
from ppgen.models.distributions import PyroDistribution
from ppgen.models.family import CHUNK, Family, as_input, in_values
from ppgen.program.bounds import RowBounds, row_bounds
from ppgen.program.family import Engine, Program
from ppgen.program.languages.rows.pyro import PyroRows
from ppgen.program.likelihood import Likelihood

__all__ = ["ModuleFamily", "seeded"]


class ModuleFamily(Family, nn.Module):
    """A generative model: a Pyro program whose parameters live in this module.

    Attributes:
        loc, scale: ``shape``, the location and scale of each entry of continuous training data.
        class_weights: ``(classes,)``, the share of each class in the training set; equal before.
    """

    engine: ClassVar[Engine] = "pyro"

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._store_name = _unique_name(self)
        self.loc: Tensor
        self.scale: Tensor
        self.class_weights: Tensor
        self.register_buffer("loc", torch.zeros(self.shape))
        self.register_buffer("scale", torch.ones(self.shape))
        if self.classes is not None:
            self.register_buffer("class_weights", torch.full((self.classes,), 1 / self.classes))
        with seeded(self.seed):
            self.build()
        self.eval()

    @abstractmethod
    def model(self, x: Tensor | None = None, n: int = 1) -> Tensor:
        """The program: ``x`` is observed if given, else n examples are sampled.

        A class-conditional family's program has a further argument, ``label (n,)``.
        """

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values; the same seed gives the same samples.

        Args:
            n: how many.
            seed: of the draws.
            label: for a model with classes, one class for all examples or one for each; by default drawn with
                their training frequencies.
        """
        return self.draw_rows(n, seed, lambda size, *label: self.model(None, size, *label), label)

    def standardise(self, rows: RowArray, labels: np.ndarray | None = None) -> None:
        """Standardise by the location and scale of each entry of continuous data ``(n, *shape)``.

        With ``labels (n,)`` the class frequencies are kept too.
        """
        if self.levels is None:
            self.loc.copy_(torch.from_numpy(rows.mean(0)))
            self.scale.copy_(torch.from_numpy(rows.std(0)))
        shares = self._shares(labels)
        if shares is not None:
            self.class_weights.copy_(torch.from_numpy(shares))

    def rows(self, x: Any) -> Tensor:
        """Check examples ``(n, *shape)`` and turn them into the tensor that the program takes.

        Raises:
            DataError: if they are empty, not finite, of another shape, or outside the levels.
        """
        dtype = torch.get_default_dtype() if self.levels is None else torch.int64
        return torch.from_numpy(np.array(as_rows_of(x, self.shape, self.levels))).to(self.loc.device, dtype)

    def as_input(self, x: Tensor) -> Tensor:
        """Scale data for a network: levels spread over [-1, 1], floats standardised."""
        return as_input(x, self.levels, self.loc, self.scale)

    def in_data_units(self, rows: PyroDistribution) -> PyroDistribution:
        """Transform a distribution of standardised data to the data's units; one of levels is unchanged."""
        if self.levels is not None:
            return rows
        return dist.TransformedDistribution(rows, [AffineTransform(self.loc, self.scale, len(self.shape))])

    def one_hot(self, label: Tensor | None) -> Tensor | None:
        """Classes ``(*batch)`` as vectors ``(*batch, classes)``; ``None`` for a model without classes.

        Raises:
            InvalidArgument: if the model has classes and no label is given, or the other way round.
        """
        self.check_label(label)
        if label is None or self.classes is None:
            return None
        return (label[..., None] == torch.arange(self.classes, device=label.device)).to(self.loc.dtype)

    def check_label(self, label: Tensor | None) -> None:
        """Reject labels for a model without classes, and missing labels for one with classes."""
        if label is None and self.classes is not None:
            raise InvalidArgument(
                "label",
                got="none",
                expected="the class of each row, since the model was built with classes",
                fix="Write label=torch.tensor([...]).",
            )
        if label is not None and self.classes is None:
            raise InvalidArgument(
                "label",
                got="classes",
                expected="none, since the model was built without classes",
                fix="Leave label out, or build the model with classes=10, for example.",
            )

    def with_class(self, vectors: Tensor, label: Tensor | None) -> Tensor:
        """Append the one-hot class to vectors ``(n, size)``, if there are classes."""
        one_hot = self.one_hot(label)
        return vectors if one_hot is None else torch.cat([vectors, one_hot], -1)

    def register(self) -> None:
        """Register the parameters with Pyro under a name unique to this instance, for ``pyro.infer.SVI``."""
        pyro.module(self._store_name, self)

    def tensors(self) -> Mapping[str, np.ndarray]:
        """Parameters and buffers by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}

    def load_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Load what :meth:`tensors` returned."""
        self.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Evaluate without gradients and dropout, in a separate parameter store.

        A user's entries in Pyro's global store are neither read nor changed.
        """
        training = self.training
        try:
            with torch.no_grad(), pyro.get_param_store().scope():
                self.eval()
                yield
        finally:
            self.train(training)

    def draw_rows(self, n: int, seed: int, draw: Callable[..., Tensor], label: Any = None) -> np.ndarray:
        """Draw n rows by ``draw(size)``, or by ``draw(size, labels)`` where rows have classes."""
        n = check_integer("n", n)
        with self.evaluation_mode(), seeded(seed):
            labels = self._labels_to_draw(label, n)
            sizes = [min(CHUNK, n - start) for start in range(0, n, CHUNK)]
            parts = [()] * len(sizes) if labels is None else [(part,) for part in labels.split(CHUNK)]
            chunks = [draw(size, *part) for size, part in zip(sizes, parts, strict=True)]
            return in_values(torch.cat(chunks).cpu(), self.levels)

    def score_rows(self, x: Any, score: Callable[..., Tensor], label: Any = None) -> np.ndarray:
        """The log density of each example by ``score(rows)``, or ``score(rows, labels)`` with classes.

        Without labels the classes are marginalised.
        """
        rows = self.rows(x)

        def values(labels: np.ndarray | None) -> np.ndarray:
            return self._by_chunks(score, rows, labels).astype(np.float64)

        with self.evaluation_mode():
            return self._given_class(values, label, len(rows))

    def bound_rows(self, x: Any, guide: Program, samples: int, seed: int, label: Any = None) -> Likelihood:
        """The importance-weighted bound on the log density of each example, with its standard error.

        Without labels the classes are marginalised.
        """
        rows, samples = self.rows(x), check_integer("samples", samples)
        labels = check_labels(label, self.classes, len(rows))

        def bound(labels: np.ndarray | None, seed: int) -> RowBounds:
            context = {} if labels is None else {"label": torch.from_numpy(labels).to(rows.device)}
            return row_bounds(PyroRows(), self.model, guide, rows, samples=samples, seed=seed, **context)

        with self.evaluation_mode():
            if self.classes is None or labels is not None:
                found = bound(labels, seed)
            else:
                # Each class has its own noise, so that the errors of the bounds are independent.
                each = [bound(np.full(len(rows), y), seed + y) for y in range(self.classes)]
                found = self._without_class(each)
        how = f"importance-weighted bound, {samples} samples" if samples > 1 else "ELBO, 1 sample"
        return Likelihood(found.values, "lower_bound", self.space, self.dims, how, found.stderr)

    def _by_chunks(
        self, function: Callable[..., Tensor], rows: Tensor, labels: np.ndarray | None
    ) -> np.ndarray:
        tensors = (rows,) if labels is None else (rows, torch.from_numpy(labels).to(rows.device))
        chunks = zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)
        return torch.cat([function(*chunk) for chunk in chunks]).cpu().numpy()

    def _without_class(self, bounds: list[RowBounds]) -> RowBounds:
        each = np.stack([bound.values for bound in bounds]) + self._log_shares()  # (classes, n)
        values = np.logaddexp.reduce(each, axis=0)
        errors = np.exp(each - values) * np.stack([bound.stderr for bound in bounds])
        return RowBounds(values, np.sqrt((errors**2).sum(0)))

    def _labels_to_draw(self, label: Any, n: int) -> Tensor | None:
        labels = check_labels(label, self.classes, n)
        if labels is not None:
            return torch.from_numpy(labels).to(self.loc.device)
        return None if self.classes is None else self.class_weights.multinomial(n, replacement=True)

    def _all_of(self, label: int, n: int) -> Tensor:
        return torch.full((n,), label, device=self.loc.device)

    def _class_weights(self) -> np.ndarray:
        return self.class_weights.cpu().numpy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._store_name = _unique_name(self)  # a copy has its own parameters


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run with a seed, and restore PyTorch's random state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(check_integer("seed", seed, least=0))
        yield


def _unique_name(family: ModuleFamily) -> str:
    return f"{type(family).__name__}-{uuid.uuid4().hex[:12]}"
