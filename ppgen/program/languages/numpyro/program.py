"""A NumPyro program as a :class:`~ppgen.program.density.Density`.

The program is run under handlers that put each latent site at the image of its part of an
unconstrained vector. One abstract run finds the layout of that vector; a second is traced into a
graph. No sampling from the prior is needed, so improper priors are fine. Discrete latents are summed
out; a scan that they are in is unrolled for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import errors as jax_errors
from numpyro import handlers
from numpyro.contrib.control_flow.scan import _subs_wrapper, scan_wrapper
from numpyro.distributions import Delta, Distribution, ExpandedDistribution, Unit, biject_to
from numpyro.distributions.distribution import Independent, MaskedDistribution
from numpyro.ops.pytree import PytreeTrace

from ppgen.errors import UnsupportedProgram
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Density, Evaluation, Latent, float64, lay_out
from ppgen.program.discrete.enumeration import Discrete, Summed, all_combinations, drawer, not_finite, sum_out
from ppgen.program.discrete.tables import Table
from ppgen.program.discrete.terms import Statements, Terms, same_scale, sum_up
from ppgen.program.explain import explained
from ppgen.program.family import Program
from ppgen.program.jaxprs.compiler import AT_ONCE
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.numpyro.plates import ReadPlates, at_given_rows
from ppgen.program.minibatches import read_minibatches
from ppgen.program.sites import Plate, Role, Site, check_latents, check_log_prob_shape, no_prior_draws
from ppgen.program.subsampling import Subsampled, read_in_full

__all__ = ["numpyro_density", "numpyro_sites"]

_Arrays = dict[str, Any]
_Trace = Mapping[str, Any]

# The Jacobian of a site's transform travels through the trace as a deterministic site of this prefix:
# unlike a factor it is not touched by the scale and mask handlers of the program.
_JACOBIAN = "__log_abs_det_jacobian__"

_WAS_OBSERVED = "ppgen_was_observed"
_STEP = "ppgen_step"  # the site and the step that a message of an unrolled scan is of

# JAX raises these where Python needs the numbers of an array that is only being traced.
_NEEDS_NUMBERS = (jax_errors.JAXTypeError, jax_errors.NonConcreteBooleanIndexError)


def numpyro_sites(program: Program, data: Mapping[str, Any]) -> tuple[Site, ...]:
    """The sites of a NumPyro program on this data, each with its shapes checked.

    Raises:
        ProgramError: if the program fails on this data, or a site's parameters and value broadcast.
        UnsupportedProgram: if a discrete latent has no finite support.
    """
    return _read_in_full(program, data).reading.sites


def numpyro_density(program: Program, data: Mapping[str, Any]) -> Density:
    """The unconstrained posterior density of a NumPyro program on this data, its plates read in full.

    Raises:
        ProgramError: as :func:`numpyro_sites`, and if nothing is latent.
        UnsupportedProgram: for discrete latents that cannot be summed out, and free parameters.
    """
    in_full = _read_in_full(program, data)
    density = _density(program, in_full.program, data, in_full.reading)
    if not in_full.subsampled:
        return density
    plates = tuple(in_full.subsampled.values())

    def read_rows(data: Mapping[str, Any]) -> Density:
        at_rows = at_given_rows(program)
        return _density(at_rows, at_rows, data, _read(at_rows, data))

    return replace(density, in_minibatches=lambda: read_minibatches(density, plates, read_rows))


class _InFull(NamedTuple):
    """A program that reads all rows of its plates, what its sites are, and which of its plates subsample."""

    program: Program
    reading: _Reading
    subsampled: dict[str, Subsampled]


def _read_in_full(program: Program, data: Mapping[str, Any]) -> _InFull:
    subsampled: dict[str, Subsampled] = {}
    in_full: Program = ReadPlates(program, found=subsampled)
    with read_in_full(subsampled):
        reading = _read(in_full, data)
    return _InFull(in_full, reading, subsampled)


def _density(original: Program, program: Program, data: Mapping[str, Any], read: _Reading) -> Density:
    """The density of a program whose plates are told which rows to read."""
    check_latents(read.sites)
    latents = lay_out(read.layout)
    traced = _trace(program, data, latents, read.discrete)

    def invert(values: dict[str, jax.Array]) -> jax.Array:
        with float64(), _explained():
            return _invert(program, data, latents, values)

    def simulate(
        seed: int, values: Mapping[str, np.ndarray], arguments: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        run = program if arguments is None else _read_in_full(original, arguments).program

        def one(key: jax.Array, values: dict[str, jax.Array]) -> dict[str, jax.Array]:
            return _simulate(run, data if arguments is None else arguments, key, values)

        with float64(), _explained():
            keys = jax.random.split(jax.random.key(seed), len(next(iter(values.values()))))
            drawn = jax.jit(jax.vmap(one))(keys, dict(values))
        return {name: np.asarray(value) for name, value in drawn.items()}

    def draw_prior(seed: int, n: int) -> np.ndarray:
        with float64(), _explained():
            keys = jax.random.split(jax.random.key(seed), n)
            return np.asarray(jax.jit(jax.vmap(lambda key: _draw_prior(program, data, latents, key)))(keys))

    return Density(
        engine="numpyro",
        program=original,
        data=data,
        sites=read.sites,
        latents=latents,
        graph=traced.graph,
        inputs=traced.inputs,
        invert=invert,
        simulate=simulate,
        draw_prior=draw_prior,
        infer_discrete=drawer(traced.summed, traced.inputs.arrays),
    )


# -- reading the sites ---------------------------------------------------------------------------------


class _Reading(NamedTuple):
    """What one abstract run shows.

    Attributes:
        sites: the sites.
        layout: the unconstrained shape of each continuous latent one.
        discrete: the discrete latent statements; in a scan each step is one.
    """

    sites: tuple[Site, ...]
    layout: dict[str, tuple[int, ...]]
    discrete: dict[str, Discrete]


def _read(program: Program, data: Mapping[str, Any]) -> _Reading:
    sites: list[Site] = []
    layout: dict[str, tuple[int, ...]] = {}
    supports: dict[str, _Support] = {}

    def run(arrays: _Arrays) -> None:
        for message in _run(program, data, arrays, _any_point(supports)).values():
            site = _site(message)
            if site is None:
                continue
            sites.append(site)
            if site.role == "latent" and not site.discrete:
                layout[site.name] = biject_to(message["fn"].support).inverse_shape(site.shape)

    with float64(), _explained():
        for arrays in ways_to_trace(data):
            sites.clear()
            layout.clear()
            supports.clear()
            try:
                jax.eval_shape(run, arrays)
                break
            except _NEEDS_NUMBERS:
                if not arrays:
                    raise
    discrete = {}
    for site in sites:
        if site.name in supports:
            discrete.update(supports[site.name].statements(site))
    return _Reading(tuple(sites), layout, discrete)


class _Support(NamedTuple):
    """The values of a discrete latent site.

    Attributes:
        values: ``(number of values, *event)``.
        in_scan: whether the site is inside numpyro's scan.
    """

    values: np.ndarray
    in_scan: bool

    def statements(self, site: Site) -> dict[str, Discrete]:
        """The site as one statement, or as one a step."""
        batch = site.shape[: len(site.shape) - site.event_dim]
        if not self.in_scan:
            return {site.name: Discrete(self.values, batch)}
        return {_step_name(site.name, step): Discrete(self.values, batch[1:]) for step in range(batch[0])}


def _support(message: Any) -> np.ndarray:
    """Every value of a discrete latent site, ``(number of values, *event)``."""
    name, distribution = message["name"], message["fn"]
    base = _base(distribution)
    unlistable = not_finite(name, type(base).__name__)
    if not base.has_enumerate_support:
        raise unlistable
    try:
        with jax.ensure_compile_time_eval():
            values = np.asarray(base.enumerate_support(expand=False))
    except NotImplementedError:
        raise unlistable from None
    values = values.reshape(len(values), *base.event_shape)
    return all_combinations(values, distribution.event_shape[: distribution.event_dim - base.event_dim])


def _site(message: Any) -> Site | None:
    """A trace message as a site, or ``None`` for those that are not the user's."""
    kind, name = message["type"], message["name"]
    if kind == "deterministic" and _JACOBIAN not in name:
        return Site(name, "deterministic", "", jnp.shape(message["value"]), plates=_plates(message))
    if kind != "sample":
        return None
    distribution, shape = message["fn"], jnp.shape(message["value"])
    base = _base(distribution)
    role: Role = "observed" if message["is_observed"] else "latent"
    if isinstance(base, Unit):
        role = "factor"
    if role == "latent" and isinstance(base, Delta):
        raise UnsupportedProgram(
            f"site {name!r}",
            got="a latent Delta, which has no density",
            expected="a distribution with a density",
            fix=f'Write numpyro.deterministic("{name}", value).',
        )
    if role != "factor":
        log_prob = jax.eval_shape(distribution.log_prob, message["value"])
        check_log_prob_shape(name, log_prob.shape, shape, distribution.event_dim)
    return Site(
        name,
        role,
        type(base).__name__,
        shape,
        distribution.event_dim,
        _support_name(distribution),
        _plates(message),
        bool(distribution.is_discrete),
    )


def _plates(message: Any) -> tuple[Plate, ...]:
    return tuple(Plate(frame.name, frame.dim, frame.size) for frame in reversed(message["cond_indep_stack"]))


def _base(distribution: Distribution) -> Distribution:
    """The distribution under the wrappers that plates, masks and ``to_event`` put around it."""
    while isinstance(distribution, (ExpandedDistribution, Independent, MaskedDistribution)):
        distribution = distribution.base_dist
    return distribution


def _support_name(distribution: Distribution) -> str:
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return type(support).__name__.strip("_").lower()


# -- running the program -------------------------------------------------------------------------------


def _run(
    program: Program,
    data: Mapping[str, Any],
    arrays: _Arrays,
    substitute: Callable[[Any], Any],
    *,
    unroll: bool = False,
) -> _Trace:
    """Run the program with latent sites substituted, and give back its trace."""
    guarded = _NoFreeParameters(handlers.substitute(program, substitute_fn=substitute))
    return handlers.trace(_UnrollScans(guarded) if unroll else guarded).get_trace(**{**data, **arrays})


class _NoFreeParameters(numpyro.primitives.Messenger):
    """Refuses what a posterior has no place for: parameters without a prior."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "param" and msg["value"] is None:
            raise UnsupportedProgram(
                f"site {msg['name']!r}",
                got="a numpyro.param without a value",
                expected="sample sites only: a posterior method draws what has a prior",
                fix="Give it a prior with numpyro.sample, or hold it fixed: "
                f'numpyro.handlers.substitute(program, data={{"{msg["name"]}": value}}).',
            )


def _any_point(supports: dict[str, _Support] | None = None) -> Callable[[Any], Any]:
    """Put each latent site at some value in its support: the image of zero, or the first in the list."""

    def substitute(message: Any) -> Any:
        if message["type"] != "sample" or message["is_observed"] or message["value"] is not None:
            return None
        distribution = message["fn"]
        shape = (*message["kwargs"].get("sample_shape", ()), *distribution.shape())
        if distribution.is_discrete:
            values = _support(message)
            if supports is not None:
                supports[message["name"]] = _Support(values, "_scan_current_index" in message["infer"])
            return jnp.broadcast_to(values[0], shape)
        bijection = biject_to(distribution.support)
        return bijection(jnp.zeros(bijection.inverse_shape(shape)))

    return substitute


def _point(latents: tuple[Latent, ...], z: jax.Array, discrete: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Put each latent site at the image of its slice of ``z``, and record the Jacobian."""
    parts = {latent.name: z[latent.start : latent.stop].reshape(latent.shape) for latent in latents}

    def substitute(message: Any) -> Any:
        if message["type"] != "sample":
            return None
        step = message["infer"].get("_scan_current_index")
        name = message["name"]
        if name not in parts:
            # Only steps of an unrolled scan have discrete latents of their own.
            return discrete.get(_step_name(name, step) if isinstance(step, int) else name)
        part, distribution = parts[name], message["fn"]
        bijection = biject_to(distribution.support)
        shape = (*message["kwargs"].get("sample_shape", ()), *distribution.shape())
        if step is not None and part.ndim > len(bijection.inverse_shape(shape)):
            part = part[step]  # inside numpyro's scan, one step of the whole series
        value = bijection(part)
        jacobian = bijection.log_abs_det_jacobian(part, value)
        numpyro.deterministic(f"{_JACOBIAN}/{name}", jnp.sum(jacobian))
        return value

    return substitute


class _UnrollScans(numpyro.primitives.Messenger):
    """Runs numpyro's scan as a Python loop, so that each step's discrete latents are variables."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "control_flow" and msg["fn"] is scan_wrapper:
            msg["fn"] = _unrolled_scan


def _unrolled_scan(
    function: Callable[..., Any],
    carry: Any,
    xs: Any,
    length: int | None,
    reverse: bool,
    rng_key: Any = None,
    substitute_stack: Any = (),
    **_: Any,
) -> Any:
    """What numpyro's ``scan_wrapper`` does, with the messages of each step under names of their own."""
    length = len(jax.tree.leaves(xs)[0]) if length is None else length
    messages: dict[str, Any] = {}
    outputs: list[Any] = []
    for step in range(length):
        at = length - 1 - step if reverse else step
        run = handlers.infer_config(function, config_fn=lambda _, step=step: {"_scan_current_index": step})
        for kind, values in substitute_stack:
            place = partial(_subs_wrapper, values, step, length)
            fixing = {"condition": {"condition_fn": place}, "substitute": {"substitute_fn": place}}
            run = getattr(handlers, kind)(run, **fixing[kind])
        with handlers.block(), handlers.trace() as trace:
            carry, output = run(carry, jax.tree.map(lambda x, at=at: x[at], xs))
        outputs.insert(0, output) if reverse else outputs.append(output)
        for name, message in trace.items():
            seen = {key: value for key, value in message.items() if key != "stop"}
            renamed = {"name": _step_name(name, step), _STEP: (name, step), "_control_flow_done": True}
            messages[_step_name(name, step)] = seen | renamed
    together = jax.tree.map(lambda *parts: jnp.stack(jnp.broadcast_arrays(*parts)), *outputs)
    return (length, rng_key, carry), (PytreeTrace(messages), together)


def _step_name(name: str, step: int) -> str:
    return f"{name}[{step}]"


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
) -> _Traced:
    # What validation could find is found by the abstract run; here it would only swell the graph.
    with float64(), _explained(), numpyro.validation_enabled(is_validate=False):
        for arrays in ways_to_trace(data):
            try:
                return _trace_arrays(program, data, arrays, latents, discrete)
            except _NEEDS_NUMBERS:
                if not arrays:
                    raise
    raise AssertionError("the last way to trace either returns or raises")


def _trace_arrays(
    program: Program,
    data: Mapping[str, Any],
    arrays: _Arrays,
    latents: tuple[Latent, ...],
    discrete: Mapping[str, Discrete],
) -> _Traced:
    """The program as a graph, these of its data as inputs."""
    values, dim = list(arrays.values()), latents[-1].stop
    known = Statements({}, {}, {}, {})
    in_scan = any(name.endswith("]") for name in discrete)

    def terms(values: list[Any], z: jax.Array, given: Mapping[str, Any]) -> Terms:
        changing = dict(zip(arrays, values, strict=True))
        place = _point(latents, z, given)
        return _terms(_run(program, data, changing, place, unroll=in_scan), discrete, known)

    @partial(jax.jit, compiler_options=AT_ONCE)
    def log_probs(values: list[Any], z: jax.Array, given: Mapping[str, Any]) -> dict[str, jax.Array]:
        return {name: jnp.sum(value) for name, value in terms(values, z, given).log_prob.items()}

    def at(z: np.ndarray, given: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {name: float(value) for name, value in log_probs(values, z, given).items()}

    def evaluate(values: list[Any], z: jax.Array) -> Evaluation:
        return sum_up(jax.tree.map(lambda array: Table((), array), terms(values, z, {})), known)

    summed = sum_out(lambda _: (terms, known), at, values, dim, discrete) if discrete else None
    graph, inputs = trace(summed.evaluate if summed else evaluate, values, jnp.zeros(dim))
    return _Traced(graph, inputs, summed)


def _terms(messages: _Trace, discrete: Mapping[str, Discrete], known: Statements) -> Terms:
    """What each statement says; what kind of statement it is goes into ``known``."""
    terms = Terms(jnp.zeros(()), {}, {}, {}, {}, {}, {})
    jacobian = terms.jacobian
    for name, message in messages.items():
        if message["type"] == "deterministic" and _JACOBIAN in name:
            jacobian = jacobian + jnp.sum(message["value"])
            continue
        if _STEP in message:
            known.steps[name] = message[_STEP]
        if message["type"] == "deterministic":
            terms.deterministics[name] = jnp.asarray(message["value"])
        if message["type"] != "sample":
            continue
        distribution, value = message["fn"], message["value"]
        log_prob = distribution.log_prob(value)
        if isinstance(_base(distribution), Unit):
            known.roles[name] = "factor"
        elif message["is_observed"]:
            # NumPyro's distributions do not mask impossible observations unless they validate.
            possible = _in_support(distribution, value)
            log_prob = jnp.where(possible, log_prob, -jnp.inf)
            known.roles[name] = "observed"
            terms.observed[name] = jnp.asarray(value)
            terms.possible[name] = possible
        elif name in discrete:
            known.roles[name] = "discrete"
        else:
            known.roles[name] = "latent"
            terms.values[name] = jnp.asarray(value)
        terms.log_prob[name] = log_prob
        if message["scale"] is not None:
            terms.scale[name] = jnp.asarray(message["scale"])
            known.scales[name] = same_scale(message["scale"])
    return terms._replace(jacobian=jacobian)


def _in_support(distribution: Distribution, value: Any) -> jax.Array:
    """Which observations are possible; those that are masked out do not count."""
    if isinstance(distribution, MaskedDistribution):
        return jnp.asarray(distribution.support(value)) | ~jnp.asarray(distribution._mask)
    return jnp.asarray(distribution.support(value))


# -- other directions ----------------------------------------------------------------------------------


def _invert(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], values: Mapping[str, jax.Array]
) -> jax.Array:
    anywhere = _any_point()

    def place(message: Any) -> Any:
        name = message["name"]
        return values[name] if name in values else anywhere(message)

    return _unconstrained(_run(program, data, {}, place), latents)


def _draw_prior(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], key: jax.Array
) -> jax.Array:
    """One draw of the latent sites from their priors, in unconstrained space ``(dim,)``."""
    sampling = _Sampling(handlers.seed(program, key))
    try:
        messages = handlers.trace(sampling).get_trace(**data)
    except NotImplementedError:
        raise no_prior_draws(*sampling.site) from None
    return _unconstrained(messages, latents)


def _unconstrained(messages: _Trace, latents: tuple[Latent, ...]) -> jax.Array:
    """The point ``z (dim,)`` at which a run had its latent sites."""
    sites = [messages[latent.name] for latent in latents]
    return jnp.concatenate([biject_to(site["fn"].support).inv(site["value"]).ravel() for site in sites])


class _Sampling(numpyro.primitives.Messenger):
    """Remembers which site is being sampled, and from which distribution."""

    site = ("", "")

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"]:
            self.site = (msg["name"], type(_base(msg["fn"])).__name__)


def _simulate(
    program: Program, data: Mapping[str, Any], key: jax.Array, values: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Run the program forward with these latent values, and draw its observed sites anew."""
    fixed = handlers.substitute(_ResampleObserved(program), data=dict(values))
    messages = handlers.trace(handlers.seed(fixed, key)).get_trace(**data)
    return {
        name: jnp.asarray(message["value"])
        for name, message in messages.items()
        if message["type"] == "sample" and message["infer"].get(_WAS_OBSERVED, False)
    }


class _ResampleObserved(numpyro.primitives.Messenger):
    """Draws each observed site from its distribution, in the shape of its observations."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "control_flow" and msg["fn"] is scan_wrapper:
            body, *rest = msg["args"]  # whose statements no handler outside of the scan sees
            msg["args"] = (_ResampleObserved(body), *rest)
            return
        if msg["type"] != "sample" or not msg["is_observed"] or msg.get("_control_flow_done", False):
            return
        if isinstance(_base(msg["fn"]), Unit):
            return
        distribution = msg["fn"]
        batch = jnp.shape(msg["value"])[: jnp.ndim(msg["value"]) - distribution.event_dim]
        msg["fn"] = distribution.expand(batch) if batch != distribution.batch_shape else distribution
        msg["value"], msg["is_observed"] = None, False
        msg["infer"] = {**msg["infer"], _WAS_OBSERVED: True}


def _explained() -> AbstractContextManager[None]:
    return explained(
        "a NumPyro program that runs on the given data under jax.jit",
        "numpyro.handlers.seed(program, 0)(**data)",
    )
