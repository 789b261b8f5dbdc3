"""Pyro, as a language of programs: run in torch, recorded there, replayed in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch.nn import Parameter
from torch.utils import _pytree as pytree

from ppgen.errors import PpgenError, UnsupportedProgram
from ppgen.program.arguments import is_array
from ppgen.program.family import Program
from ppgen.program.languages.guide import GuideProgram
from ppgen.program.languages.language import Explored, Language
from ppgen.program.languages.pyro.plates import at_given_rows, read_plates
from ppgen.program.languages.pyro.session import SelectByTensor, own_state, unvalidated
from ppgen.program.languages.pyro.statements import REDRAWN, PyroStatement, role_of
from ppgen.program.languages.rows import RowPrograms
from ppgen.program.languages.site import Sites
from ppgen.program.languages.statement import PLAIN, Place, RunOptions, Statement
from ppgen.program.lowering.callback import call_torch
from ppgen.program.lowering.recording import CannotRecord, Recording, record
from ppgen.program.sites import free_parameter, no_prior_draws
from ppgen.program.subsampling import Subsampled

__all__ = ["LANGUAGE"]

_TRIES = 10


class Pyro(Language):
    """Programs in Pyro, on torch."""

    name: ClassVar[str] = "pyro"
    title: ClassVar[str] = "Pyro"
    reparam: ClassVar[str] = "pyro.poutine.reparam"
    arrays: ClassVar[str] = "torch"
    native: ClassVar[bool] = True
    # It may be that the program needs the numbers of some data in Python.
    needs_numbers: ClassVar[tuple[type[Exception], ...]] = (UnsupportedProgram,)

    def probe(self, found: Callable[[], Any]) -> Messenger:
        return _Probe(found)

    @contextmanager
    def session(self, *, checked: bool = False) -> Iterator[None]:
        with own_state(), pyro.validation_enabled() if checked else unvalidated():
            yield

    def array(self, value: Any) -> torch.Tensor:
        # Of its own memory: a program may write into its data.
        return value if isinstance(value, torch.Tensor) else torch.tensor(np.asarray(value))

    def arguments(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.array(value) if is_array(value) else value for name, value in data.items()}

    def concatenate(self, parts: list[torch.Tensor]) -> jax.Array:
        # Priors on Python's numbers are drawn from in torch's own default precision.
        with jax.enable_x64(True):
            return jnp.asarray(torch.cat(parts).detach().double().numpy())

    def run(
        self, program: Program, data: Mapping[str, Any], place: Place, options: RunOptions = PLAIN
    ) -> list[Statement]:
        refused = nullcontext() if options.parameters else _NoFreeParameters()
        with refused, poutine.trace() as tracer, _Placed(place, options.redraw):
            program(**data)
        return [
            PyroStatement(message)
            for message in tracer.trace.nodes.values()
            if message["type"] == "sample" and not poutine.util.site_is_subsample(message)
        ]

    def explore(self, run: Explored, data: Mapping[str, Any]) -> None:
        """Run a function of data and of a starting point until it goes through.

        The point lies near 0 in unconstrained space, but not at 0, where many programs have a degenerate
        scale or covariance; a point that a check refuses is tried no more than a few times.
        """
        for attempt in range(_TRIES):
            generator = torch.Generator().manual_seed(attempt)

            def near_zero(shape: Any, generator: torch.Generator = generator) -> torch.Tensor:
                return torch.randn(tuple(shape), generator=generator) / 4

            try:
                with torch.no_grad():
                    run(self.arguments(data), near_zero)
                return
            except PpgenError:
                raise
            except (ValueError, torch.linalg.LinAlgError):
                if attempt == _TRIES - 1:
                    raise

    def lower(
        self,
        evaluate: Callable[..., Any],
        values: list[Any],
        z: np.ndarray,
        given: list[np.ndarray],
        others: list[np.ndarray],
    ) -> Callable[..., Any]:
        flat = _flat(evaluate, len(values))
        inputs = [self.array(array) for array in (*values, z, *given)]
        try:
            recording = record(flat, *inputs)
        except CannotRecord as error:
            native = 'Or write backend="native": Pyro then runs the program at every step, milliseconds each.'
            raise UnsupportedProgram(
                error.argument, got=error.got, expected=error.expected, fix=f"{error.fix} {native}"
            ) from error
        _check_elsewhere(
            recording, flat, inputs[: len(values)], inputs[len(values)], list(map(self.array, others))
        )
        return lambda values, z, given: recording.in_jax(*values, z, *map(jnp.asarray, given))

    def call(
        self, evaluate: Callable[..., Any], values: list[Any], z: np.ndarray, *discrete: list[np.ndarray]
    ) -> Callable[..., Any]:
        def at(z: torch.Tensor) -> Any:
            with self.session():
                return evaluate([], z, [])

        called = call_torch(at, self.array(z))
        return lambda _, z, __: called(z)

    def concrete(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with torch.no_grad(), SelectByTensor():
                return _to_numpy(function(*jax.tree.map(self.array, arguments)))

        return run

    def repeat(self, one: Callable[..., Any], seed: int, n: int, values: Mapping[str, np.ndarray]) -> Any:
        torch.manual_seed(seed)
        tensors = self.arguments(values)
        with torch.no_grad():
            rows = ({name: tensor[i] for name, tensor in tensors.items()} for i in range(n))
            draws = [_to_numpy(one(None, row)) for row in rows]
        return jax.tree.map(lambda *parts: np.stack(parts), *draws)

    def in_full(self, program: Program, found: dict[str, Subsampled]) -> Program:
        def read(**data: Any) -> Any:
            with read_plates(found=found):
                return program(**data)

        return read

    def at_rows(self, program: Program) -> Program:
        return at_given_rows(program)

    @cached_property
    def rows(self) -> RowPrograms:
        """How Pyro programs are run on minibatches of rows."""
        from ppgen.program.languages.rows.pyro import PyroRows

        return PyroRows()

    @cached_property
    def sites(self) -> Sites:
        """How trained models stand in Pyro programs."""
        from ppgen.program.languages.pyro.site import PyroSites

        return PyroSites()

    def read_guide(self, guide: Program, data: Mapping[str, Any], seed: int) -> GuideProgram:
        from ppgen.program.languages.pyro.guide import PyroGuide

        return PyroGuide(self, guide, data, seed)


LANGUAGE = Pyro()


def _to_numpy(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: leaf.detach().numpy() if isinstance(leaf, torch.Tensor) else np.asarray(leaf), tree
    )


# -- handlers ------------------------------------------------------------------------------------------


class _Probe(Messenger):
    """Says so at the first statement."""

    def __init__(self, found: Callable[[], Any]) -> None:
        super().__init__()
        self.found = found

    def _process_message(self, msg: Any) -> None:
        self.found()


class _Placed(Messenger):
    """Gives each latent site the value that ``place`` finds for it, and each fixed parameter its own.

    Args:
        place: where it gives nothing, the site is drawn from its distribution.
        redraw: whether to draw each observed site from its distribution, in the shape of its observations.
    """

    def __init__(self, place: Place, redraw: bool) -> None:
        super().__init__()
        self.place, self.redraw = place, redraw

    def _pyro_sample(self, msg: Any) -> None:
        if poutine.util.site_is_subsample(msg):
            return
        if msg["is_observed"]:
            msg["value"] = torch.as_tensor(msg["value"])  # a number is an observation too
            if self.redraw and role_of(msg) == "observed":
                _redraw(msg)
        elif msg["value"] is None:
            statement = PyroStatement(msg)
            msg["value"] = self.place(statement)
            if msg["value"] is None:
                msg["value"] = _drawn(statement)

    def _pyro_param(self, msg: Any) -> None:
        """Pyro's parameter store would make a parameter trainable that the user has frozen."""
        given, store = msg["args"][1:2], pyro.get_param_store()
        if msg["value"] is None and given and isinstance(given[0], Parameter) and not given[0].requires_grad:
            msg["value"] = given[0]
        unconstrained = dict(store.named_parameters()).get(msg["name"])
        if msg["value"] is None and unconstrained is not None and not unconstrained.requires_grad:
            msg["value"] = store[msg["name"]]


def _redraw(message: Any) -> None:
    fn, shape = message["fn"], message["value"].shape
    message["fn"] = fn.expand(shape[: len(shape) - fn.event_dim])
    message["value"], message["is_observed"] = None, False
    message["infer"] = {**(message["infer"] or {}), REDRAWN: True}


def _drawn(statement: PyroStatement) -> torch.Tensor:
    try:
        return statement.message["fn"]()
    except NotImplementedError:
        raise no_prior_draws(statement.name, statement.distribution) from None


class _NoFreeParameters(Messenger):
    """Refuses what a posterior has no place for: parameters without a prior."""

    def _pyro_param(self, msg: Any) -> None:
        if msg["value"] is None:  # else the user has fixed it
            raise free_parameter(
                msg["name"],
                "pyro",
                "module.requires_grad_(False) for a network, or "
                f'pyro.poutine.substitute(program, data={{"{msg["name"]}": value}})',
            )


# -- recording -----------------------------------------------------------------------------------------


def _flat(evaluate: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``evaluate(values, z, given)`` as a function of tensors one by one."""

    def flat(*inputs: torch.Tensor) -> Any:
        given = list(inputs[count + 1 :])
        with SelectByTensor() if given else nullcontext():
            return evaluate(list(inputs[:count]), inputs[count], given)

    return flat


def _check_elsewhere(
    recording: Recording,
    evaluate: Callable[..., Any],
    values: list[torch.Tensor],
    z: torch.Tensor,
    discrete: list[torch.Tensor],
) -> None:
    """Compare program and record at a second point.

    A value silently converted to a Python number stays frozen at the first one.
    """
    other = z + 0.1 * torch.cos(torch.arange(len(z)))
    with torch.no_grad():
        expected = evaluate(*values, other, *discrete)
        recorded = recording.in_torch(*values, other, *discrete)
    pairs = zip(pytree.tree_leaves(expected), pytree.tree_leaves(recorded), strict=True)
    if all(_alike(a, b) for a, b in pairs):
        return
    raise UnsupportedProgram(
        "program",
        got="a log density that Python computes in part: its record is right at one point, wrong at another",
        expected="torch operations from the sampled values to the log density",
        fix="Keep the sampled values in tensors: no .numpy(), no .tolist().",
    )


def _alike(expected: Any, recorded: Any) -> bool:
    a, b = torch.as_tensor(expected).sum(), torch.as_tensor(recorded).sum()
    return torch.allclose(a.double(), b.double(), rtol=1e-6, atol=1e-6, equal_nan=True)
