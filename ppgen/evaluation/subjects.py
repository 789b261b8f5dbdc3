"""Which models are evaluated, and on what data: checked before anything slow begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.data import Dataset, Observations
from ppgen.data.rows import as_array, check_rows
from ppgen.errors import DataError, InvalidArgument
from ppgen.program.capabilities import HasLevels, HasSamples, HasShape
from ppgen.program.family import HasLogProb
from ppgen.program.likelihood import Space

__all__ = ["HeldOut", "check_model", "held_out", "named_models"]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The test set.

    Attributes:
        name: the name of the data.
        rows: ``(n, *shape)``.
        space: whether values are discrete or continuous.
        levels: how many values a discrete entry can take.
        declared: whether the data declares its ``levels``; a bare array does not.
    """

    name: str
    rows: np.ndarray
    space: Space
    levels: int | None
    declared: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.rows.shape[1:]


def held_out(data: Any) -> HeldOut:
    """Return the test set of a dataset, or of a bare array.

    Raises:
        DataError: if it is empty, or not all finite numbers.
    """
    if isinstance(data, Dataset):
        if not len(data.test):
            raise DataError(
                "data",
                got=f"{data.name} with an empty test split",
                expected="test rows to measure on",
                fix="Split some off: ppgen.data.as_dataset(array, splits=(0.8, 0.1, 0.1)).",
            )
        return HeldOut(data.name, np.asarray(data.test), data.kind, data.levels, declared=True)
    if isinstance(data, (str, Observations)):
        raise DataError(
            "data",
            got=repr(data) if isinstance(data, str) else f"{data.name}, the data of one Bayesian program",
            expected="a Dataset or an array of test rows",
            fix='Write data=ppgen.data.load("digits").',
        )
    rows = as_array(data, argument="data")
    check_rows(rows, None, argument="data")
    space: Space = "continuous" if rows.dtype.kind == "f" else "discrete"
    return HeldOut("array", rows, space, None, declared=False)


def named_models(models: Any) -> dict[str, Any]:
    """Name the models: those of a mapping by its keys, others by their class.

    Raises:
        InvalidArgument: if there is no model or a name is empty.
    """
    if isinstance(models, Mapping):
        named = dict(models)
    else:
        listed = list(models) if isinstance(models, Sequence) else [models]
        named = _numbered(listed)
    wrong = [name for name in named if not (isinstance(name, str) and name.strip())]
    if not named or wrong:
        raise InvalidArgument(
            "models",
            got=f"the name {wrong[0]!r}" if wrong else "no model",
            expected="at least one model, each with a name",
            fix='Write models={"vae": vae}.',
        )
    return named


def _numbered(models: list[Any]) -> dict[str, Any]:
    """Name models by their class, the second of a class with a 2."""
    named: dict[str, Any] = {}
    for model in models:
        family = type(model).__name__
        count = sum(type(other) is type(model) for other in named.values())
        named[f"{family} {count + 1}" if count else family] = model
    return named


def check_model(name: str, model: Any, test: HeldOut) -> None:
    """Reject a model that can neither score nor sample such data.

    Raises:
        InvalidArgument: if it has neither ``log_prob`` nor ``sample``, or is built for another shape or
            other levels.
    """
    argument = f"models[{name!r}]"
    if isinstance(model, type) or not isinstance(model, HasSamples | HasLogProb):
        raise InvalidArgument(
            argument,
            got=f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}",
            expected="a model with log_prob(x) or sample(n, seed=...)",
            fix="Pass a trained model, an instance of one of ppgen.models.",
        )
    if isinstance(model, HasShape) and tuple(model.shape) != test.shape:
        raise InvalidArgument(
            argument,
            got=f"a model of rows of shape {tuple(model.shape)}",
            expected=f"one of rows of shape {test.shape}, as in the data",
            fix="Reshape the data, or train the model on it.",
        )
    if isinstance(model, HasLevels) and test.declared and model.levels != test.levels:
        raise InvalidArgument(
            argument,
            got=f"a model of {_described(model.levels)}",
            expected=f"one of {_described(test.levels)}, as in the data",
            fix=f"Build it with levels={test.levels}, or pass the data that it was trained on.",
        )


def _described(levels: int | None) -> str:
    return f"{levels} levels" if levels else "continuous data"
