"""The subject of annealing: a family, or a program with a guide, and the checks of its arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from ppgen.checks import check_choice
from ppgen.data.rows import as_array, check_rows
from ppgen.errors import DataError, InvalidArgument
from ppgen.program.capabilities import HasGuide
from ppgen.program.family import Engine, Family, Program
from ppgen.program.languages.detect import detect_engine
from ppgen.program.likelihood import Space

__all__ = ["Start", "Subject", "check_label", "check_start", "read_subject"]

Start = Literal["prior", "guide"]


@dataclass(frozen=True, eq=False)
class Subject:
    """A family, or a program with a guide.

    Attributes:
        family: the family, or ``None`` for a program.
        model, guide: programs whose first argument is the data ``(n, *shape)``; a class is their ``label``.
        engine: their language.
    """

    family: Any
    model: Program
    guide: Program | None
    engine: Engine

    def rows(self, x: Any) -> np.ndarray:
        """Check data ``(n, *shape)`` and return them as an array.

        Raises:
            DataError: if they are empty, not finite, or not of the model's shape or levels.
        """
        if self.family is not None:
            return np.asarray(self.family.rows(x))
        rows = as_array(x, argument="x")
        check_rows(rows, None, argument="x")
        return rows

    def space_of(self, x: np.ndarray) -> Space:
        """Whether values are discrete."""
        if self.family is not None:
            return self.family.space
        return "continuous" if x.dtype.kind == "f" else "discrete"

    @property
    def classes(self) -> int | None:
        """How many classes a family has; ``None`` for a program."""
        return None if self.family is None else self.family.classes

    def class_weights(self) -> np.ndarray:
        """The share of each class of a family ``(classes,)``."""
        weights = self.family.class_weights
        return np.asarray(weights.cpu() if hasattr(weights, "cpu") else weights, np.float64)

    @property
    def default_start(self) -> Start:
        """The guide if there is a trained one, else the prior."""
        trained = self.family is None or self.family.trained is not None
        return "guide" if self.guide is not None and trained else "prior"


def read_subject(model: Any, guide: Program | None, x: Any) -> Subject:
    """Wrap a family, or a program with an optional guide, as a subject.

    Args:
        model: the family, or a Pyro or NumPyro callable.
        guide: the guide of a program.
        x: data to determine a program's language with.

    Raises:
        InvalidArgument: if it is neither, or a family comes with another guide.
    """
    is_class = isinstance(model, type)
    if not is_class and isinstance(model, Family):
        if guide is not None:
            raise InvalidArgument(
                "guide",
                got="a guide next to a family",
                expected="nothing: a family has its own guide",
                fix="Leave it out, or pass the program: model=family.model.",
            )
        guide = model.guide if isinstance(model, HasGuide) else None
        return Subject(model, model.model, guide, model.engine)
    if is_class or not callable(model):
        raise InvalidArgument(
            "model",
            got=f"the class {model.__name__}" if is_class else f"a {type(model).__name__}",
            expected="a latent-variable family, or a Pyro or NumPyro program of rows",
            fix="Write annealed_likelihood(vae, x), or pass a function program(x).",
        )
    rows = as_array(x, argument="x")
    engine = detect_engine(lambda x: model(x), {"x": rows[:1]}, getattr(model, "engine", None))
    return Subject(None, model, guide, engine)


def check_start(start: Any, subject: Subject) -> Start:
    """Check the start of the path: ``"prior"``, or ``"guide"`` if there is one."""
    if start is None:
        return subject.default_start
    check_choice("start", start, get_args(Start))
    if start == "guide" and subject.guide is None:
        raise InvalidArgument(
            "start",
            got="'guide', for a program without one",
            expected="a guide with a site for each latent site of the program",
            fix="Write guide=..., or start='prior'.",
        )
    return cast(Start, start)


def check_label(label: Any, subject: Subject, n: int) -> np.ndarray | None:
    """Check the classes of n examples ``(n,)``; ``None`` without labels.

    Raises:
        InvalidArgument: if labels are given to a family without classes.
        DataError: if they are not n whole numbers, or not classes.
    """
    if label is None:
        return None
    if subject.family is not None and subject.classes is None:
        raise InvalidArgument(
            "label",
            got=f"{label!r}"[:60],
            expected="nothing: the model was built without classes",
            fix="Leave it out.",
        )
    labels = np.asarray(label)
    labels = np.full(n, labels) if labels.ndim == 0 else labels
    most = np.inf if subject.classes is None else subject.classes
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= most:
        top = "" if subject.classes is None else f" … {subject.classes - 1}"
        raise DataError(
            "label",
            got=f"an array of {labels.dtype} of shape {labels.shape}",
            expected=f"one class for all rows, or {n} of them, each 0{top}",
            fix="Pass an integer array with the class of each row.",
        )
    return labels
