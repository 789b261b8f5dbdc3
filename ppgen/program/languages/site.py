"""The optional part of a language for trained models that stand in other programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ppgen.errors import InvalidArgument, NoLikelihood

__all__ = ["FrozenModel", "Sites", "batch_of", "check_latents"]


@runtime_checkable
class FrozenModel(Protocol):
    """A frozen copy of a family, as the distribution of its rows."""

    @property
    def latents(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each latent variable that a row is given, by name; none for rows by themselves."""
        ...

    def __call__(self, *values: Any, **named: Any) -> Any:
        """The distribution in the family's own language, given latent variables in order or by name."""
        ...


class Sites(ABC):
    """Trained models in programs of one language."""

    def freeze(self, family: Any, label: int | None, *, decoder: bool) -> FrozenModel:
        """A copy of a family of this language: its rows by themselves, or given latent variables.

        Raises:
            NoLikelihood: if it has no such distribution.
            InvalidArgument: if the label is none of its classes.
        """
        raise NoLikelihood(
            "family",
            got=f"a {type(family).__name__}, which gives other programs no distribution",
            expected="a flow, an autoregressive model, or for as_decoder a VAE",
            fix="Train one of these on the same rows.",
        )

    @abstractmethod
    def distribution(self, frozen: FrozenModel) -> Any:
        """Rows by themselves, as a distribution of this language."""

    @abstractmethod
    def decoder(self, frozen: FrozenModel) -> Callable[..., Any]:
        """From latent variables, in order or by name, to a distribution of this language."""


def check_latents(
    latents: Mapping[str, tuple[int, ...]], values: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    """Latent variables by name, in the order of the program, from values in that order and by name.

    Raises:
        InvalidArgument: if one is missing or unknown, given twice, or of another shape.
    """
    given = dict(zip(latents, values, strict=False)) | dict(named)
    if len(values) > len(latents) or given.keys() != latents.keys() or len(given) < len(values) + len(named):
        raise InvalidArgument(
            "latents",
            got=f"{len(values)} values and the names {sorted(named)}",
            expected=f"the latent variables {', '.join(latents)}",
            fix=f"Write decoder({', '.join(latents)}).",
        )
    for name, shape in latents.items():
        found = tuple(given[name].shape)
        if found[len(found) - len(shape) :] != tuple(shape):
            raise InvalidArgument(
                name,
                got=f"a value of shape {found}",
                expected=f"(..., {', '.join(map(str, shape))})",
                fix="Sample it as the family's own program does.",
            )
    return {name: given[name] for name in latents}


def batch_of(latents: Mapping[str, tuple[int, ...]], given: Mapping[str, Any]) -> tuple[int, ...]:
    """The batch shape that latent variables have together."""
    batches = [tuple(value.shape)[: len(value.shape) - len(latents[name])] for name, value in given.items()]
    return np.broadcast_shapes(*batches)
