"""The optional part of a language that trains: programs whose first argument is a minibatch of rows.

Rows are run in the language's own arrays, under its own automatic differentiation. What is made of the log
densities that come back is written once, in :mod:`ppgen.program.bounds`, on the few operations named here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ppgen.program.family import Program

__all__ = ["Batch", "Parameters", "Place", "RowPrograms", "RowStatement", "RowTrace"]


class Batch(NamedTuple):
    """A minibatch in the arrays of one language.

    Attributes:
        x: rows ``(n, *shape)``.
        label: the class of each row ``(n,)``; ``None`` where rows have none.
        key: JAX's key to the noise of this step; ``None`` on torch, whose generator is global.
    """

    x: Any
    label: Any = None
    key: Any = None

    @property
    def context(self) -> dict[str, Any]:
        """The arguments of a program after its rows."""
        return {} if self.label is None else {"label": self.label}


class RowStatement(NamedTuple):
    """A sample statement of a program that was run on rows.

    Attributes:
        latent: whether it is sampled, not observed.
        value: its value, in the language's arrays.
        distribution: the language's own.
        scale: what its log density counts for; ``None`` is 1.
        log_prob: computes the log density, one number a row ``(n,)`` where the program is right; scaled and
            masked as the program says.
    """

    latent: bool
    value: Any
    distribution: Any
    scale: Any
    log_prob: Callable[[], Any]


class RowTrace(NamedTuple):
    """A run of a program on rows.

    Attributes:
        sites: its sample statements by name, in order.
        returned: what the program returned.
    """

    sites: Mapping[str, RowStatement]
    returned: Any

    def value(self, name: str) -> Any:
        """What a latent site of this name was drawn as; ``None`` if there is none."""
        site = self.sites.get(name)
        return site.value if site is not None and site.latent else None

    @property
    def latent(self) -> dict[str, RowStatement]:
        """What was sampled."""
        return {name: site for name, site in self.sites.items() if site.latent}


Place = Callable[[str, Any], Any]
"""From the name of a latent site and its distribution to its value, or ``None``."""


class Parameters(NamedTuple):
    """The free parameters of programs, apart from them.

    Attributes:
        start: a tree of unconstrained arrays, by the names that parameters have in the programs.
        constrain: takes such a tree to values that the programs can take.
        put: a program, and such a tree, to the program with these parameters in it.
    """

    start: Mapping[str, Any]
    constrain: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    put: Callable[[Program, Mapping[str, Any]], Program]


class RowPrograms(ABC):
    """How a language runs programs on rows.

    Attributes:
        sample: the name of its sample statement, for advice.
    """

    sample: ClassVar[str]

    @abstractmethod
    def run(
        self,
        program: Program,
        batch: Batch,
        place: Place | None = None,
        *,
        fixed_draws: bool = False,
        redraw: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch.

        Args:
            program: its first argument is the minibatch; classes are its ``label``.
            batch: the rows.
            place: gives latent sites their values; where it gives ``None``, they are drawn.
            fixed_draws: whether draws are constants, so that no gradient runs through them.
            redraw: draw what is observed, too.
        """

    def parameters(self, programs: Iterable[Program], batch: Batch) -> Parameters:
        """Run programs on a few rows, and take down the parameters that they declare.

        For languages whose programs are functions of their parameters; others change them in place.
        """
        raise NotImplementedError

    @abstractmethod
    def is_reparameterised(self, distribution: Any) -> bool:
        """Whether a gradient runs through the draws of a distribution."""

    @abstractmethod
    def bijection(self, name: str, distribution: Any) -> Any:
        """From unconstrained space to the support of a latent site.

        Raises:
            UnsupportedProgram: naming the site, if there is none.
        """

    def kind(self, distribution: Any) -> str:
        """What a distribution is called without what plates, masks and ``to_event`` wrap around it."""
        while hasattr(distribution, "base_dist"):
            distribution = distribution.base_dist
        return type(distribution).__name__

    @abstractmethod
    def is_discrete(self, distribution: Any) -> bool:
        """Whether values are counts or categories."""

    @abstractmethod
    def trial(self) -> AbstractContextManager[None]:
        """Run programs and leave nothing behind: no parameter, no random state, no gradient."""

    @abstractmethod
    def seeded(self, seed: int) -> AbstractContextManager[Any]:
        """Draw with this seed inside; gives the key for :class:`Batch`."""

    @abstractmethod
    def split(self, key: Any) -> tuple[Any, Any]:
        """Two keys of one."""

    # -- evaluation --------------------------------------------------------------------------------------

    @abstractmethod
    def evaluation_mode(self, *programs: Program, own_parameters: bool) -> AbstractContextManager[None]:
        """Run programs without dropout, checks or gradients, and leave the user's state as it was.

        Args:
            programs: those that are run.
            own_parameters: whether they bring their parameters; otherwise the user's are read.
        """

    @abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function of arrays, compiled where that pays."""

    @abstractmethod
    def graph(self, function: Callable[..., Any], *examples: np.ndarray) -> tuple[Any, Any]:
        """A function of arrays of the language as a graph of JAX operations, and the inputs that it reads.

        Args:
            function: gives back a tuple of arrays.
            examples: a point at which it can be run.

        Raises:
            UnsupportedProgram: if it cannot be traced or recorded.
        """

    # -- arrays ------------------------------------------------------------------------------------------

    @abstractmethod
    def concatenate(self, parts: list[Any]) -> Any:
        """Rows ``(n, d)`` side by side."""

    @abstractmethod
    def as_array(self, rows: np.ndarray) -> Any:
        """Rows as a program takes them: floats in the working precision, integers as they are."""

    @abstractmethod
    def as_numpy(self, array: Any) -> np.ndarray:
        """The values of an array, without a gradient."""

    @abstractmethod
    def repeat(self, array: Any, times: int) -> Any:
        """The array as often as that along its first axis, one copy after the other."""

    @abstractmethod
    def logsumexp(self, array: Any) -> Any:
        """Over the first axis."""

    @abstractmethod
    def softmax(self, array: Any) -> Any:
        """Over the first axis."""

    @abstractmethod
    def stop_gradient(self, array: Any) -> Any:
        """The same values as constants."""
