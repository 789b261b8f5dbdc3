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

__all__ = ["Batch", "Parameters", "RowPrograms", "RowStatement", "RowTrace"]


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
        log_prob: computes the log density, one number a row ``(n,)`` where the program is right; scaled and
            masked as the program says.
    """

    latent: bool
    value: Any
    distribution: Any
    log_prob: Callable[[], Any]


class RowTrace(NamedTuple):
    """A run of a program on rows.

    Attributes:
        sites: its sample statements by name, in order.
        returned: what the program returned.
    """

    sites: Mapping[str, RowStatement]
    returned: Any

    @property
    def latent(self) -> dict[str, RowStatement]:
        """What was sampled."""
        return {name: site for name, site in self.sites.items() if site.latent}


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
        values: Mapping[str, Any] | None = None,
        *,
        fixed_draws: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch.

        Args:
            program: its first argument is the minibatch; classes are its ``label``.
            batch: the rows.
            values: of latent sites; those of others are drawn.
            fixed_draws: whether draws are held constant, so that no gradient runs through them.
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
    def trial(self) -> AbstractContextManager[None]:
        """Run programs and leave nothing behind: no parameter, no random state, no gradient."""

    @abstractmethod
    def seeded(self, seed: int) -> AbstractContextManager[Any]:
        """Draw with this seed inside; gives the key for :class:`Batch`."""

    @abstractmethod
    def split(self, key: Any) -> tuple[Any, Any]:
        """Two keys of one."""

    # -- arrays ------------------------------------------------------------------------------------------

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
