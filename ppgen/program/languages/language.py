"""What a language of programs is: one object that says how programs written in it are run.

Everything that ppgen does with a program is written once, on the statements that a run gives back. Values
stay arrays of the language's own kind until a program is traced or lowered; from there on all is JAX.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import errors as jax_errors

from ppgen.errors import UnknownName, UnsupportedProgram
from ppgen.program.arguments import ways_to_trace
from ppgen.program.explain import explained
from ppgen.program.family import Program
from ppgen.program.jaxprs.compiler import AT_ONCE
from ppgen.program.languages.guide import GuideProgram
from ppgen.program.languages.site import Sites
from ppgen.program.languages.statement import PLAIN, Place, RunOptions, Statement
from ppgen.program.subsampling import Subsampled

if TYPE_CHECKING:
    from ppgen.program.languages.rows import RowPrograms

__all__ = [
    "Explored",
    "Language",
    "find_language",
    "imported_languages",
    "language_names",
    "register_language",
]

Explored = Callable[[Mapping[str, Any], Callable[[tuple[int, ...]], Any]], None]
"""Reads a program at its arguments, and at unconstrained values near 0 of given shapes."""


class Language(ABC):
    """A language that programs are written in.

    Two methods make a language: :meth:`probe`, by which its programs are recognised, and :meth:`run`. The
    others are right for languages on JAX; one on other arrays says how its functions become JAX's.

    Attributes:
        name: as ``engine=`` calls it.
        title: as a person writes it.
        reparam: the handler that writes a site in another form, as one calls it; empty if there is none.
        arrays: the library of its arrays, ``"jax"`` or ``"torch"``.
        needs_numbers: what is raised where Python needs the numbers of an array that is only being traced.
        native: whether it can run programs by itself at each evaluation (:meth:`call`).
        try_alone: a line that runs a program alone.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reparam: ClassVar[str] = ""
    arrays: ClassVar[str] = "jax"
    needs_numbers: ClassVar[tuple[type[Exception], ...]] = (
        jax_errors.JAXTypeError,
        jax_errors.NonConcreteBooleanIndexError,
    )
    native: ClassVar[bool] = False
    try_alone: ClassVar[str] = "program(**data)"

    # -- what a language must say -----------------------------------------------------------------------

    @abstractmethod
    def probe(self, found: Callable[[], Any]) -> AbstractContextManager[Any]:
        """A context in which the first statement of a program of this language calls ``found``."""

    @abstractmethod
    def run(
        self, program: Program, data: Mapping[str, Any], place: Place, options: RunOptions = PLAIN
    ) -> list[Statement]:
        """Run a program once, and give back its statements in order.

        Args:
            program: the program.
            data: its arguments, arrays in the language's own.
            place: gives each latent statement its value; where it gives ``None``, it is drawn.
            options: how to run it.

        Raises:
            UnsupportedProgram: for parameters that are not allowed, and priors that cannot be drawn from.
        """

    # -- arrays ---------------------------------------------------------------------------------------------

    def array(self, value: Any) -> Any:
        """A number or NumPy array as an array of the language."""
        return jnp.asarray(value)

    def arguments(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """A program's data as it takes them."""
        return dict(data)

    def concatenate(self, parts: list[Any]) -> Any:
        """Vectors of the language as one JAX vector."""
        return jnp.concatenate(parts)

    # -- running programs -------------------------------------------------------------------------------

    @contextmanager
    def session(self, *, checked: bool = False) -> Iterator[None]:
        """Run programs in double precision; a failure in the user's code is said to be the program's.

        Args:
            checked: with the language's own checks of parameters and values.
        """
        with (
            jax.enable_x64(True),
            explained(f"a {self.title} program that runs on the given data", self.try_alone),
        ):
            yield

    def explore(self, run: Explored, data: Mapping[str, Any]) -> None:
        """Run a function of data and of a starting point until it goes through, to see what it records.

        Args:
            run: from the program's arguments, and a function that gives unconstrained values of a shape.
            data: the program's data.
        """
        for arrays in ways_to_trace(data):
            try:
                jax.eval_shape(lambda arrays: run({**data, **arrays}, np.zeros), arrays)
                return
            except self.needs_numbers:
                if not arrays:
                    raise

    def lower(
        self,
        evaluate: Callable[..., Any],
        values: list[Any],
        z: np.ndarray,
        given: list[np.ndarray],
        others: list[np.ndarray],
    ) -> Callable[..., Any]:
        """``evaluate(values, z, given)``, on arrays of the language, as a function on JAX's.

        Args:
            evaluate: gives back trees of arrays.
            values: arrays that it reads.
            z: a point at which it can be evaluated.
            given: values of discrete latents that it can be evaluated at.
            others: other values of theirs.

        Raises:
            UnsupportedProgram: if it cannot be done.
        """
        return evaluate

    def call(
        self, evaluate: Callable[..., Any], values: list[Any], z: np.ndarray, *discrete: list[np.ndarray]
    ) -> Callable[..., Any]:
        """The same where z is the only input, by running the program at each evaluation."""
        return evaluate

    def concrete(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function on arrays of the language as one on NumPy's, for a few evaluations."""
        return jax.jit(function, compiler_options=AT_ONCE)

    def repeat(self, one: Callable[..., Any], seed: int, n: int, values: Mapping[str, np.ndarray]) -> Any:
        """What ``one(key, values)`` gives for n draws, each with an entry of ``values``, in NumPy arrays."""
        keys = jax.random.split(jax.random.key(seed), n)
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(keys, dict(values)))

    # -- plates that subsample --------------------------------------------------------------------------

    def in_full(self, program: Program, found: dict[str, Subsampled]) -> Program:
        """A program that reads all rows of its plates; ``found`` takes in those that subsample."""
        return program

    def at_rows(self, program: Program) -> Program:
        """A program that reads its plates at the rows that are among its data."""
        return program

    @property
    def rows(self) -> RowPrograms:
        """How it runs programs of rows, for training and their likelihoods; a language need not.

        Raises:
            UnsupportedProgram: if it does not.
        """
        raise UnsupportedProgram(
            "program",
            got=f"a program in {self.title}, which does not run minibatches of rows",
            expected="a program in a language that does, such as Pyro or NumPyro",
            fix="Fit it by ppgen.infer(program, data), or write it in one of these.",
        )

    @property
    def sites(self) -> Sites:
        """How trained models stand in its programs; a language need not.

        Raises:
            UnsupportedProgram: if they do not.
        """
        raise UnsupportedProgram(
            "engine",
            got=f"a program in {self.title}, in which no trained model can stand",
            expected="a program in Pyro or NumPyro",
            fix='Write engine="pyro", and the program in Pyro.',
        )

    def read_guide(self, guide: Program, data: Mapping[str, Any], seed: int) -> GuideProgram:
        """A guide on its program's data.

        Args:
            guide: the guide.
            data: the data of both.
            seed: of its parameters, where they start at random.

        Raises:
            UnsupportedProgram: if guides in this language cannot be fitted.
        """
        raise UnsupportedProgram(
            "guide",
            got=f"a guide of your own for a program in {self.title}",
            expected="the name of a guide",
            fix='Write guide="full_rank", or "nsf" for a flow.',
        )


# The adapters that come with ppgen; one is imported when a program of its language is read.
_OURS = ("pyro", "numpyro")
_REGISTERED: dict[str, Language] = {}


def register_language(language: Language) -> None:
    """Make a language known, so that its programs are recognised."""
    _REGISTERED[language.name] = language


def language_names() -> list[str]:
    """The names of all languages, whether their adapters are imported or not."""
    return list(dict.fromkeys((*_OURS, *_REGISTERED)))


def imported_languages() -> Iterator[Language]:
    """The languages that a program can have been written in: ours where their library is imported."""
    yield from (find_language(name) for name in language_names() if name in sys.modules or name not in _OURS)


def find_language(name: str) -> Language:
    """The language of this name.

    Raises:
        UnknownName: if there is none.

    Example:
        >>> find_language("numpyro").title
        'NumPyro'
    """
    if name not in _REGISTERED:
        if name not in _OURS:
            raise UnknownName("engine", name, language_names())
        register_language(import_module(f"ppgen.program.languages.{name}").LANGUAGE)
    return _REGISTERED[name]
