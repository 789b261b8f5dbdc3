"""One statement of a program, in the words and arrays of its language, as everything above sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from ppgen.program.sites import Plate, Role

__all__ = ["PLAIN", "Bijection", "Place", "RunOptions", "Statement", "step_name"]


@runtime_checkable
class Bijection(Protocol):
    """A map from unconstrained space onto a support, with its inverse."""

    @property
    def inv(self) -> Callable[[Any], Any]:
        """From values back to unconstrained points."""
        ...

    def __call__(self, x: Any) -> Any:
        """The value at an unconstrained point."""
        ...

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """log |det ∂y/∂x|, one entry a batch element."""
        ...

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the unconstrained point of a value of this shape."""
        ...


class Statement(ABC):
    """One named statement of a program that is being run or has been run.

    Attributes:
        name: the name in the program; in a scan that is run step by step, ``name[step]``.
        role: ``"latent"``, ``"observed"``, ``"deterministic"`` or ``"factor"``.
        distribution: the class of its distribution under all wrappers; empty where it has none.
        event_dim: how many trailing dimensions are one event.
        support: the set of possible values, by name; empty if that adds nothing.
        discrete: whether its values are counts or categories.
        has_rsample: whether gradients go through its draws.
        auxiliary: whether it belongs to a guide alone, which no site of the program stands for.
        plates: the plates around it, outermost first.
        scale: what its log density counts for; ``None`` is 1.
        step: the site and the step, of a statement in a scan that is run step by step.
        index: inside of a scan that is under way, which step; ``None`` outside.
        redrawn: whether it is observed in the program and was drawn in this run.
    """

    name: str
    role: Role
    distribution: str = ""
    event_dim: int = 0
    support: str = "real"
    discrete: bool = False
    has_rsample: bool = True
    auxiliary: bool = False
    plates: tuple[Plate, ...] = ()
    scale: Any = None
    step: tuple[str, int] | None = None
    index: Any = None
    redrawn: bool = False

    @property
    @abstractmethod
    def value(self) -> Any:
        """Its value, in an array of the language; ``None`` while it has none."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of its value, whether there is one yet or not."""

    @abstractmethod
    def bijection(self) -> Bijection:
        """From unconstrained space to the support.

        Raises:
            UnsupportedProgram: naming the site, if there is none.
        """

    @abstractmethod
    def log_prob(self) -> Any:
        """The log density of its value, one entry a batch element: 0 where masked, -inf where impossible."""

    def log_prob_shape(self) -> tuple[int, ...]:
        """The shape of :meth:`log_prob`, of values that need not be known yet."""
        return tuple(jax.eval_shape(self.log_prob).shape)

    def possible(self) -> Any:
        """Which entries of an observation lie in the support; those that are masked out count as possible."""
        return np.True_

    def support_values(self) -> np.ndarray:
        """Every value that an element of a discrete latent can have, ``(number of values, *event)``.

        Raises:
            UnsupportedProgram: naming the site, if they cannot be listed.
        """
        raise NotImplementedError  # of a language without discrete latents, whose statements never are


class RunOptions(NamedTuple):
    """How a program is run.

    Attributes:
        key: of what is drawn, in languages that draw by keys.
        redraw: draw what is observed from its distribution, in the shape of its observations.
        unroll: run scans step by step, each step's statements by themselves.
        parameters: allow parameters without a prior, which a posterior has no place for.
    """

    key: jax.Array | None = None
    redraw: bool = False
    unroll: bool = False
    parameters: bool = False


PLAIN = RunOptions()

Place = Callable[[Statement], Any]
"""From a latent statement without a value to the value that it gets; ``None`` has the language draw it."""


def step_name(name: str, step: int) -> str:
    """The name of one step of a site in a scan that is run step by step."""
    return f"{name}[{step}]"
