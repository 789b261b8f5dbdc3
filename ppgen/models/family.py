"""The base of all families, in either language: settings, checks of data and labels, classes.

Two bases below it define where parameters live: :mod:`ppgen.models.module_family` in a torch module,
:mod:`ppgen.models.pytree_family` in an equinox pytree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from ppgen.data.dataset import as_dataset
from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_labels
from ppgen.models.settings import HasSettings, setting
from ppgen.program.family import Engine, TrainingFacts
from ppgen.program.likelihood import Likelihood, Space

__all__ = ["CHUNK", "CLASSES", "Family", "as_input", "in_values"]

_Family = TypeVar("_Family", bound="Family")

CHUNK = 512  # examples per pass of sampling or scoring

CLASSES: Any = setting(
    default=None,
    least=2,
    example=10,
    doc="the number of classes, for a model of examples given their label; ``None`` for data without",
)
"""The setting of a class-conditional family, whose program has a further argument ``label (n,)``."""


class Family(HasSettings, ABC):
    """A generative model: its settings, and a program with parameters.

    A family declares settings in its body (:func:`~ppgen.models.settings.setting`), each of which becomes an
    attribute, and creates its parameters in ``build``. ``classes: int | None = CLASSES`` makes it
    class-conditional.

    Attributes:
        name: its name on the command line and in files; by default the name of the class.
        summary: what it is and the kind of its likelihood, in one line.
        engine: the language of the program.
        objectives: the objectives that can train it, the default first.
        renamed: current names of settings and tensors in older files; a name that ends in a dot stands for
            all tensors that begin with it.
        settings: the settings, complete and checked; frozen.
        classes: the number of classes, if the family is class-conditional.
        trained: the facts of its training so far.
    """

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    engine: ClassVar[Engine]
    renamed: ClassVar[Mapping[str, str]] = {}

    shape: tuple[int, ...] = setting(
        kw_only=False,
        expected="the shape of one row, such as (8, 8) or (2,)",
        at_least=1,
        example=(8, 8),
        doc="the shape of one row",
    )
    levels: int | None = setting(
        default=None,
        kw_only=False,
        least=2,
        doc="how many values a discrete entry can take; ``None`` for continuous data",
    )
    seed: int = setting(default=0, least=0, doc="seed of the initial weights")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        self.settings: Any = self.Settings.of(*values, **named)
        self.classes: int | None = None
        self.trained: TrainingFacts | None = None
        for name in self.settings.declared:
            if not hasattr(type(self), name):  # `network` is the network, not the name of its kind
                setattr(self, name, getattr(self.settings, name))

    @classmethod
    def like(cls: type[_Family], data: Any, *, conditional: bool = False, **settings: Any) -> _Family:
        """Build the family for a dataset.

        Args:
            data: a :class:`~ppgen.data.Dataset`, or an array ``(n, *shape)`` whose integers are levels.
                Shape and levels are taken from it.
            conditional: take its number of classes too, for a model of examples given their label. A family
                that needs classes always takes them.
            settings: those of the constructor.

        Raises:
            InvalidArgument: if the data of a conditional model have no labels, or a setting is out of range.

        Example:
            >>> from ppgen.models import VAE
            >>> VAE.like(np.zeros((10, 4, 4), int), latent_dim=2).levels
            2
        """
        data = as_dataset(data, levels=settings.get("levels"))
        taken: dict[str, Any] = {"levels": data.levels}
        declared = cls.Settings.declared.get("classes")
        if conditional and data.classes is None:
            raise InvalidArgument(
                "conditional",
                got=f"True, for {data.name!r}, whose rows have no labels",
                expected="a dataset with labels",
                fix="Pass as_dataset(rows, labels=labels), or leave conditional out.",
            )
        if conditional or (declared is not None and declared.required and data.classes):
            taken["classes"] = data.classes
        return cls(data.shape, **taken | settings)

    @property
    @abstractmethod
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it, the default first."""

    @abstractmethod
    def build(self) -> None:
        """Create the parameters; settings are attributes by now."""

    @abstractmethod
    def model(self, x: Any = None, n: int = 1) -> Any:
        """The program: ``x`` is observed if given, else n examples are sampled.

        A class-conditional family's program has a further argument, ``label (n,)``.
        """

    @abstractmethod
    def log_prob(self, x: Any) -> Likelihood:
        """The log density of each example of ``x (n, *shape)``, a bound on it, or an estimate."""

    @abstractmethod
    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The constructor's arguments after ``shape``: what is needed to build the same family again."""
        return {name: value for name, value in vars(self.settings).items() if name != "shape"}

    @property
    def dims(self) -> int:
        """How many numbers one example holds."""
        return int(np.prod(self.shape))

    @property
    def space(self) -> Space:
        """The space of the log density."""
        return "continuous" if self.levels is None else "discrete"

    def _shares(self, labels: np.ndarray | None) -> np.ndarray | None:
        """The share of each class ``(classes,)`` in labels, of which -1 are unknown; ``None`` without any."""
        if self.classes is None or labels is None or not (labels >= 0).any():
            return None
        counts = np.bincount(labels[labels >= 0], minlength=self.classes)
        return counts / counts.sum()

    def _given_class(
        self, log_prob: Callable[[np.ndarray | None], np.ndarray], label: Any, n: int
    ) -> np.ndarray:
        """The log densities ``(n,)`` by ``log_prob(labels)``, given labels or with classes marginalised."""
        values, log_shares = self._per_class(log_prob, label, n)
        return values if log_shares is None else np.logaddexp.reduce(values + log_shares, axis=0)

    def _per_class(
        self, score: Callable[[np.ndarray | None], np.ndarray], label: Any, n: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Scores ``(n, ...)`` by ``score(labels)``, given labels or without classes.

        With classes but no labels, scores ``(classes, n, ...)`` given each class, and the log weights of the
        classes, which broadcast against them.
        """
        labels = check_labels(label, self.classes, n)
        if labels is not None or self.classes is None:
            return score(labels), None
        each = np.stack([score(np.full(n, y)) for y in range(self.classes)])
        return each, self._log_shares().reshape(-1, *(1,) * (each.ndim - 1))

    def _log_shares(self) -> np.ndarray:
        """The log weight of each class ``(classes, 1)``."""
        with np.errstate(divide="ignore"):  # a class that training never saw has no weight
            return np.log(self._class_weights().astype(np.float64))[:, None]

    @abstractmethod
    def _class_weights(self) -> np.ndarray:
        """The share of each class ``(classes,)`` in the training set."""


def as_input(x: Any, levels: int | None, loc: Any, scale: Any) -> Any:
    """Scale data for a network: levels spread over [-1, 1], floats standardised."""
    return (x - loc) / scale if levels is None else x * (2 / (levels - 1)) - 1


def in_values(draws: Any, levels: int | None) -> np.ndarray:
    """Convert draws to data: floats, or the nearest levels."""
    rows = np.asarray(draws)
    return rows.astype(np.float64) if levels is None else np.rint(rows).astype(np.int64)
