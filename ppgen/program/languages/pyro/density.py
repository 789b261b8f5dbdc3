"""A Pyro program as a :class:`~ppgen.program.density.Density`: recorded in torch, replayed in JAX."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch
from pyro.distributions.torch_distribution import MaskedDistribution
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from ppgen.errors import UnsupportedProgram
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Density, Evaluation, Latent, float64, lay_out
from ppgen.program.discrete.enumeration import Discrete, Summed, TermsOf, drawer, sum_out
from ppgen.program.discrete.tables import Table
from ppgen.program.discrete.terms import Statements, Terms, same_scale, sum_up
from ppgen.program.family import Program
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.pyro.plates import at_given_rows, read_plates
from ppgen.program.languages.pyro.program import (
    Place,
    SelectByTensor,
    base_of,
    bijection_of,
    first_value,
    own_state,
    read_program,
    role_of,
    run_program,
    site_of,
    support_of,
    to_tensors,
)
from ppgen.program.lowering.callback import call_torch
from ppgen.program.lowering.recording import Recording, record
from ppgen.program.minibatches import read_minibatches
from ppgen.program.sites import check_latents, no_prior_draws
from ppgen.program.subsampling import Subsampled, read_in_full

__all__ = ["pyro_density"]


def pyro_density(program: Program, data: Mapping[str, Any], *, native: bool = False) -> Density:
    """The unconstrained posterior density of a Pyro program on this data, its plates read in full.

    Args:
        program: the program.
        data: its keyword arguments.
        native: have JAX call torch for each evaluation, instead of replaying a record of it.

    Raises:
        ProgramError: as :func:`~ppgen.program.pyro_program.pyro_sites`, and if nothing is latent.
        UnsupportedProgram: for discrete latents that cannot be summed out and free parameters, for control
            flow that depends on sampled values, and for operations that have no counterpart in JAX.
    """
    subsampled: dict[str, Subsampled] = {}
    with read_in_full(subsampled), own_state(), read_plates(found=subsampled):
        density = _density(program, data, native)
    if not subsampled:
        return density
    plates = tuple(subsampled.values())

    def read_rows(data: Mapping[str, Any]) -> Density:
        if native:
            raise UnsupportedProgram(
                f"plate {plates[0].name!r}",
                got='minibatches under backend="native"',
                expected="a record of the program, in which the rows are an input",
                fix='Leave out backend="native", or subsample_size=.',
            )
        return _density(at_given_rows(program), data, native)

    return replace(density, in_minibatches=lambda: read_minibatches(density, plates, read_rows))


def _density(program: Program, data: Mapping[str, Any], native: bool) -> Density:
    """The density of a program whose plates are told which rows to read."""
    with own_state(), _NoFreeParameters():
        messages, parts, discrete = read_program(program, data)
        sites = tuple(site_of(message) for message in messages.values())
        check_latents(sites)
        latents = lay_out({name: tuple(part.shape) for name, part in parts.items()})
        z = torch.cat([part.ravel() for part in parts.values()])
        if native:
            traced = _call(program, data, latents, discrete, z)
        else:
            traced = _trace(program, data, latents, discrete, z)

    def invert(values: dict[str, jax.Array]) -> jax.Array:
        with own_state():
            return jnp.asarray(_invert(program, data, latents, values))

    def simulate(
        seed: int, values: Mapping[str, np.ndarray], arguments: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        with own_state():
            return _simulate(program, data if arguments is None else arguments, seed, values)

    def draw_prior(seed: int, n: int) -> np.ndarray:
        with own_state():
            return _draw_prior(program, data, latents, seed, n)

    return Density(
        engine="pyro",
        program=program,
        data=data,
        sites=sites,
        latents=latents,
        graph=traced.graph,
        inputs=traced.inputs,
        invert=invert,
        simulate=simulate,
        draw_prior=draw_prior,
        infer_discrete=drawer(traced.summed, traced.inputs.arrays),
    )


class _NoFreeParameters(Messenger):
    """Refuses what a posterior has no place for: parameters without a prior."""

    def _pyro_param(self, msg: Any) -> None:
        if msg["value"] is not None:  # fixed by the user
            return
        raise UnsupportedProgram(
            f"site {msg['name']!r}",
            got="a pyro.param without a prior",
            expected="sample sites only: a posterior method draws what has a prior",
            fix="Give it a prior with pyro.sample or PyroSample, or hold it fixed: "
            "module.requires_grad_(False) for a network, or "
            f'pyro.poutine.substitute(program, data={{"{msg["name"]}": value}}).',
        )


# -- tracing the density -------------------------------------------------------------------------------


class _Traced(NamedTuple):
    """The program as a graph of ``(inputs, z)``, its inputs, and how its discrete latents are summed."""

    graph: Graph
    inputs: Inputs
    summed: Summed | None


def _trace(
    program: Program,
    data: Mapping[str, Any],
    latents: tuple[Latent, ...],
    discrete: Mapping[str, Discrete],
    z: torch.Tensor,
) -> _Traced:
    for arrays in ways_to_trace(data):
        try:
            return _trace_arrays(program, data, arrays, latents, discrete, z)
        except UnsupportedProgram:  # it may be that the program needs the numbers of some data in Python
            if not arrays:
                raise
    raise AssertionError("the last way to trace either returns or raises")


def _trace_arrays(
    program: Program,
    data: Mapping[str, Any],
    arrays: Mapping[str, Any],
    latents: tuple[Latent, ...],
    discrete: Mapping[str, Discrete],
    z: torch.Tensor,
) -> _Traced:
    """The program as a graph, these of its data as inputs."""
    constants, tensors = to_tensors(data), list(to_tensors(arrays).values())
    known = Statements({}, {}, {}, {})

    def evaluate(*inputs: torch.Tensor) -> Terms:
        count = len(arrays)
        changing = dict(zip(arrays, inputs[:count], strict=True))
        given = dict(zip(discrete, inputs[count + 1 :], strict=True))
        with SelectByTensor() if given else nullcontext():
            return _terms(program, {**constants, **changing}, latents, inputs[count], given, known)

    def read(examples: Mapping[str, Any]) -> tuple[TermsOf, Statements]:
        """Record the program for discrete values of these shapes."""
        given = [torch.tensor(example) for example in examples.values()]
        others = [
            torch.tensor(discrete[name].values[-1]).expand_as(v)
            for name, v in zip(discrete, given, strict=True)
        ]
        with _unvalidated():
            recording = record(evaluate, *tensors, z, *given)
            _check_elsewhere(recording, evaluate, tensors, z, others)

        def terms(values: list[Any], z: jax.Array, given: Mapping[str, Any]) -> Terms:
            return recording.in_jax(*values, z, *(jnp.asarray(given[name]) for name in discrete))

        return terms, known

    def at(z: np.ndarray, given: Mapping[str, np.ndarray]) -> dict[str, float]:
        with _unvalidated(), torch.no_grad():
            found = evaluate(*tensors, torch.tensor(z), *(torch.tensor(given[name]) for name in discrete))
        return {name: float(log_prob.sum()) for name, log_prob in found.log_prob.items()}

    values = list(arrays.values())
    with float64():
        if discrete:
            summed = sum_out(read, at, values, len(z), discrete)
            return _Traced(*trace(summed.evaluate, values, jnp.zeros(len(z))), summed)
        terms, _ = read({})

        def total(values: list[Any], z: jax.Array) -> Evaluation:
            return sum_up(jax.tree.map(lambda array: Table((), array), terms(values, z, {})), known)

        return _Traced(*trace(total, values, jnp.zeros(len(z))), None)


def _call(
    program: Program,
    data: Mapping[str, Any],
    latents: tuple[Latent, ...],
    discrete: Mapping[str, Discrete],
    z: torch.Tensor,
) -> _Traced:
    """The program as a graph that calls it."""
    if discrete:
        raise UnsupportedProgram(
            f"site {next(iter(discrete))!r}",
            got='a discrete latent under backend="native"',
            expected="continuous latents alone: discrete ones are summed out of a record of the program",
            fix='Leave out backend="native", or sum it out in the program.',
        )
    known, tensors = Statements({}, {}, {}, {}), to_tensors(data)

    def evaluate(z: torch.Tensor) -> Terms:
        with own_state(), _unvalidated():
            return _terms(program, tensors, latents, z, {}, known)

    terms = call_torch(evaluate, z)

    def total(_: list[Any], z: jax.Array) -> Evaluation:
        return sum_up(jax.tree.map(lambda array: Table((), array), terms(z)), known)

    with float64():
        graph, inputs = trace(total, [], jnp.zeros(len(z)))
    # Two programs look alike in a graph that only says that something is called.
    return _Traced(replace(graph, text=f"{graph.text}\ncalls torch, {next(_CALLS)}"), inputs, None)


_CALLS = itertools.count()


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Checks of values are control flow, and would end the recording; the first run has made them.

    Distributions that were built outside of the program carry a switch of their own.
    """
    unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample", return_value=None)
    with pyro.validation_enabled(False), unchecked:
        yield


def _check_elsewhere(
    recording: Recording,
    evaluate: Callable[..., Terms],
    tensors: list[torch.Tensor],
    z: torch.Tensor,
    discrete: list[torch.Tensor],
) -> None:
    """Run program and record at a second point: a number that Python took in silence was the first's."""
    other = z + 0.1 * torch.cos(torch.arange(len(z)))
    with torch.no_grad():
        expected = evaluate(*tensors, other, *discrete)
        recorded = recording.in_torch(*tensors, other, *discrete)
    pairs = [(expected.jacobian, recorded.jacobian)]
    pairs += [(log_prob, recorded.log_prob[name]) for name, log_prob in expected.log_prob.items()]
    if all(torch.allclose(a.sum(), b.sum(), rtol=1e-6, atol=1e-6, equal_nan=True) for a, b in pairs):
        return
    raise UnsupportedProgram(
        "program",
        got="a log density that Python computes in part: its record is right at one point, wrong at another",
        expected="torch operations from the sampled values to the log density",
        fix="Keep the sampled values in tensors: no .numpy(), no .tolist().",
    )


# -- the density in torch ------------------------------------------------------------------------------


def _terms(
    program: Program,
    data: Mapping[str, Any],
    latents: tuple[Latent, ...],
    z: torch.Tensor,
    discrete: Mapping[str, torch.Tensor],
    known: Statements,
) -> Terms:
    """What each statement says; what kind of statement it is goes into ``known``."""
    parts = {latent.name: z[latent.start : latent.stop].reshape(latent.shape) for latent in latents}

    def place(message: Any) -> torch.Tensor:
        name = message["name"]
        return discrete[name] if name in discrete else bijection_of(message)(parts[name])

    terms = Terms(torch.zeros(()), {}, {}, {}, {}, {}, {})
    jacobian = terms.jacobian
    for name, message in run_program(program, data, place).items():
        with _at_site(name):
            role, value = role_of(message), message["value"]
            if role == "deterministic":
                terms.deterministics[name] = value
                continue
            log_prob = _log_prob(message)
            if role == "latent" and name not in discrete:
                terms.values[name] = value
                jacobian = jacobian + bijection_of(message).log_abs_det_jacobian(parts[name], value).sum()
            elif role == "observed":
                possible = _possible(message)
                log_prob = torch.where(possible, log_prob, -torch.inf)
                terms.observed[name], terms.possible[name] = value, possible
            terms.log_prob[name] = log_prob
            known.roles[name] = "discrete" if name in discrete else role
            known.scales[name] = same_scale(message["scale"])
            if known.scales[name] != 1:
                terms.scale[name] = torch.as_tensor(message["scale"])
    return terms._replace(jacobian=jacobian)


@contextmanager
def _at_site(name: str) -> Iterator[None]:
    """Say at which site it is that a log density cannot be recorded: no line of the program computes it."""
    try:
        yield
    except UnsupportedProgram as error:
        where = f"site {name!r}, {error.argument}"
        raise UnsupportedProgram(where, got=error.got, expected=error.expected, fix=error.fix) from error


def _log_prob(message: Any) -> torch.Tensor:
    """The log density of a site, 0 where the program masks it."""
    log_prob, mask = message["fn"].log_prob(message["value"]), message["mask"]
    return log_prob if mask is None else torch.where(torch.as_tensor(mask), log_prob, 0.0)


def _possible(message: Any) -> torch.Tensor:
    """Which observations lie in the support; those that are masked out do not count."""
    distribution, possible = message["fn"], support_of(message["fn"]).check(message["value"])
    masks = [message["mask"], distribution._mask if isinstance(distribution, MaskedDistribution) else None]
    for mask in masks:
        if mask is not None:
            possible = possible | ~torch.as_tensor(mask)
    return possible


# -- other directions ----------------------------------------------------------------------------------


def _invert(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], values: Mapping[str, Any]
) -> np.ndarray:
    given = {name: torch.tensor(np.asarray(value)) for name, value in values.items()}
    with _unvalidated(), torch.no_grad():
        messages = run_program(program, to_tensors(data), _lookup(given, first_value))
        parts = [bijection_of(messages[part.name]).inv(given[part.name]).ravel() for part in latents]
    return torch.cat(parts).numpy()


def _draw_prior(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], seed: int, n: int
) -> np.ndarray:
    """Draws of the latent sites from their priors, in unconstrained space ``(n, dim)``."""
    tensors = to_tensors(data)
    torch.manual_seed(seed)

    def draw(message: Any) -> torch.Tensor:
        try:
            return message["fn"].sample()
        except NotImplementedError:
            raise no_prior_draws(message["name"], type(base_of(message["fn"])).__name__) from None

    draws = []
    with _unvalidated(), torch.no_grad():
        for _ in range(n):
            messages = run_program(program, tensors, draw)
            sites = [messages[latent.name] for latent in latents]
            draws.append(torch.cat([bijection_of(site).inv(site["value"]).ravel() for site in sites]))
    return torch.stack(draws).numpy()


def _simulate(
    program: Program, data: Mapping[str, Any], seed: int, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Run the program once a draw with its latent values, and draw its observed sites anew."""
    tensors, given = to_tensors(data), to_tensors(values)
    torch.manual_seed(seed)
    draws: list[dict[str, np.ndarray]] = []
    with _unvalidated(), torch.no_grad():
        for row in zip(*given.values(), strict=True):
            latent = dict(zip(given, row, strict=True))
            with _ResampleObserved() as fresh:
                messages = run_program(program, tensors, _lookup(latent, _no_value))
            draws.append({name: messages[name]["value"].numpy() for name in fresh.names})
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}


def _lookup(values: Mapping[str, torch.Tensor], other: Place) -> Place:
    return lambda message: values[message["name"]] if message["name"] in values else other(message)


def _no_value(message: Any) -> None:
    """Leaves a site to Pyro, which draws it from its prior."""


class _ResampleObserved(Messenger):
    """Draws each observed site from its distribution, in the shape of its observations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or role_of(msg) != "observed":
            return
        distribution, shape = msg["fn"], msg["value"].shape
        self.names.append(msg["name"])
        msg["fn"] = distribution.expand(shape[: len(shape) - distribution.event_dim])
        msg["value"], msg["is_observed"] = None, False
