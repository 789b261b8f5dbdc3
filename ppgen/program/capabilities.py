"""What a family can do beyond its program: the protocols that training and evaluation ask for, by type.

A family declares a capability by having its methods, or by naming the protocol among its bases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = [
    "DropsLabels",
    "HasCritic",
    "HasDequantisation",
    "HasDiffusion",
    "HasDivergence",
    "HasEnergy",
    "HasExactDensity",
    "HasGuide",
    "HasLayers",
    "HasLevels",
    "HasNoisePrediction",
    "HasParameterCount",
    "HasParameters",
    "HasPseudoLikelihood",
    "HasSamples",
    "HasShape",
    "HasTraining",
    "HasTransition",
    "HasVariationalBound",
    "HasVelocity",
    "HoldsProgram",
    "IsSemiSupervised",
    "lacking",
]


@runtime_checkable
class HasGuide(Protocol):
    """A guide with a site for each latent one of the program."""

    @property
    def guide(self) -> Callable[..., Any]:
        """A program of the same arguments."""


@runtime_checkable
class HoldsProgram(Protocol):
    """A program that is an object of its own, with all that objectives read.

    Attributes:
        program: an immutable pytree.
    """

    program: Any


@runtime_checkable
class HasSamples(Protocol):
    """Rows of its own making."""

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values."""


@runtime_checkable
class HasExactDensity(Protocol):
    """A distribution of rows with an exact density."""

    def density(self, *arguments: Any) -> Any:
        """The distribution of a row, in the language's own kind."""


@runtime_checkable
class HasParameterCount(Protocol):
    """A size."""

    @property
    def n_parameters(self) -> int:
        """How many numbers training changes."""


@runtime_checkable
class HasParameters(Protocol):
    """Parameters, as a torch module has them."""

    def parameters(self) -> Iterable[Any]:
        """Arrays with a shape."""


@runtime_checkable
class HasTraining(Protocol):
    """A training that it came from.

    Attributes:
        trained: its facts; ``None`` before the first.
    """

    trained: Any


@runtime_checkable
class HasShape(Protocol):
    """Rows of one shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""


@runtime_checkable
class HasLevels(Protocol):
    """Rows of one kind."""

    @property
    def levels(self) -> int | None:
        """How many values a discrete entry can take; ``None`` for continuous data."""


@runtime_checkable
class IsSemiSupervised(Protocol):
    """Rows whose class is not known can be learnt from."""

    semi_supervised: bool


# -- energies --------------------------------------------------------------------------------------------


@runtime_checkable
class HasEnergy(Protocol):
    """Minus a log density without its constant."""

    def energy(self, x: Any) -> Any:
        """The energy ``(n,)`` of rows ``(n, *shape)``."""


@runtime_checkable
class HasTransition(Protocol):
    """A Markov kernel that leaves the model's distribution as it is."""

    def start(self, key: Any, n: int) -> Any:
        """Where chains begin, ``(n, *shape)``."""

    def transition(self, key: Any, x: Any) -> Any:
        """One step of chains ``(n, *shape)``."""


@runtime_checkable
class HasPseudoLikelihood(Protocol):
    """The conditional probability of each entry given all others."""

    levels: int | None

    def pseudo_log_prob(self, key: Any, x: Any) -> Any:
        """The pseudo log likelihood ``(n,)`` of rows."""


@runtime_checkable
class HasDequantisation(Protocol):
    """A way to make levels continuous."""

    def dequantise(self, key: Any, x: Any) -> Any:
        """Rows with noise within their levels."""


@runtime_checkable
class HasLayers(Protocol):
    """Layers that are inferred one above the other and generated one below the other, an RBM on top."""

    def machines(self) -> Sequence[Any]:
        """The RBM of each pair of layers, the lowest first."""

    def rise(self, key: Any, x: Any) -> list[Any]:
        """Infer the layers from rows."""

    def fall(self, key: Any, h: Any) -> list[Any]:
        """Generate from the states of the top RBM's lower layer."""

    def below(self, i: int, h: Any) -> Any:
        """Layer i given the one above."""

    def above(self, i: int, h: Any) -> Any:
        """Layer i + 1 as inferred from layer i."""

    def rough_log_prob(self, key: Any, x: Any) -> Any:
        """A bound ``(n,)`` with a quick estimate of the constant."""


# -- diffusions and velocities -----------------------------------------------------------------------------


@runtime_checkable
class HasVariationalBound(Protocol):
    """An unbiased draw of a lower bound."""

    def bound(self, x: Any, key: Any, label: Any = None, dropout_key: Any = None) -> Any:
        """One draw ``(n,)`` for rows ``(n, *shape)``."""


class _OnPaths(Protocol):
    def standard_rows(self, x: Any, key: Any) -> Any:
        """Rows in units of about 1."""

    def random_times(self, key: Any, n: int) -> Any:
        """Times ``(n,)`` in [0, 1]."""


@runtime_checkable
class HasNoisePrediction(_OnPaths, Protocol):
    """A prediction of the noise in noisy rows."""

    def diffused(self, x: Any, t: Any, noise: Any) -> Any:
        """Rows at times ``(n,)``, with this noise."""

    def noise(self, z: Any, t: Any, label: Any = None, dropout_key: Any = None) -> Any:
        """The noise that is seen in them."""


@runtime_checkable
class HasDiffusion(HasNoisePrediction, Protocol):
    """A diffusion whose coefficients are known at any time."""

    def diffusion(self, t: Any) -> Any:
        """The diffusion coefficient g ``(n,)``."""

    def spread(self, t: Any) -> Any:
        r"""The standard deviation :math:`\sigma_t` ``(n,)``."""


@runtime_checkable
class HasVelocity(_OnPaths, Protocol):
    """A velocity field from noise to data."""

    def velocity(self, z: Any, t: Any, label: Any = None, *, key: Any = None) -> Any:
        """The velocity ``(n, *shape)``."""


@runtime_checkable
class DropsLabels(Protocol):
    """Labels that training leaves out now and then."""

    def some_labels(self, label: Any, key: Any) -> Any:
        """The labels ``(n,)``, some of them as unknown."""


# -- games -----------------------------------------------------------------------------------------------


@runtime_checkable
class HasCritic(Protocol):
    """A critic that judges rows.

    It must be named among a torch family's bases: torch keeps modules where a look at the class cannot
    find them.

    Attributes:
        critic: gives a number for each row.
    """

    critic: Any

    def as_input(self, x: Any) -> Any:
        """Rows as the critic reads them."""


@runtime_checkable
class HasDivergence(Protocol):
    """A divergence of its own to play for.

    Attributes:
        divergence: its name.
    """

    divergence: Any


def lacking(model: Any, capability: type) -> list[str]:
    """What a model would need to have a capability.

    Example:
        >>> lacking(object(), HasTransition)
        ['start', 'transition']
    """
    if isinstance(model, capability):
        return []
    members = {name for kind in capability.__mro__ if kind is not object for name in _members(kind)}
    return sorted(name for name in members if not hasattr(model, name))


def _members(protocol: type) -> set[str]:
    declared = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return {name for name in declared if not name.startswith("_")}
