"""A NumPyro program as a :class:`~ppgen.program.density.Density`.

The program is run under handlers that put each latent site at the image of its part of an
unconstrained vector. One abstract run finds the layout of that vector; a second is traced into a
graph. No sampling from the prior is needed, so improper priors are fine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import errors as jax_errors
from numpyro import handlers
from numpyro.distributions import Delta, Distribution, ExpandedDistribution, Unit, biject_to
from numpyro.distributions.distribution import Independent, MaskedDistribution

from ppgen.errors import UnsupportedProgram
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Density, Evaluation, Latent, float64, lay_out
from ppgen.program.explain import explained
from ppgen.program.family import Program
from ppgen.program.graph import Graph, Inputs, trace
from ppgen.program.sites import Plate, Role, Site, check_latents, check_log_prob_shape, no_prior_draws

__all__ = ["numpyro_density", "numpyro_sites"]

_Arrays = dict[str, Any]
_Trace = Mapping[str, Any]

# The Jacobian of a site's transform travels through the trace as a deterministic site of this prefix:
# unlike a factor it is not touched by the scale and mask handlers of the program.
_JACOBIAN = "__log_abs_det_jacobian__"

_WAS_OBSERVED = "ppgen_was_observed"

# JAX raises these where Python needs the numbers of an array that is only being traced.
_NEEDS_NUMBERS = (jax_errors.JAXTypeError, jax_errors.NonConcreteBooleanIndexError)


def numpyro_sites(program: Program, data: Mapping[str, Any]) -> tuple[Site, ...]:
    """The sites of a NumPyro program on this data, each with its shapes checked.

    Raises:
        ProgramError: if the program fails on this data, or a site's parameters and value broadcast.
    """
    return _read(program, data)[0]


def numpyro_density(program: Program, data: Mapping[str, Any]) -> Density:
    """The unconstrained posterior density of a NumPyro program on this data.

    Raises:
        ProgramError: as :func:`numpyro_sites`, and if nothing is latent.
        UnsupportedProgram: for discrete latents, free parameters and subsampling plates.
    """
    sites, layout = _read(program, data)
    check_latents(sites)
    latents = lay_out(layout)
    graph, inputs = _trace(program, data, latents)

    def invert(values: dict[str, jax.Array]) -> jax.Array:
        with float64(), _explained():
            return _invert(program, data, latents, values)

    def simulate(seed: int, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        def one(key: jax.Array, values: dict[str, jax.Array]) -> dict[str, jax.Array]:
            return _simulate(program, data, key, values)

        with float64(), _explained():
            keys = jax.random.split(jax.random.key(seed), len(values[latents[0].name]))
            drawn = jax.jit(jax.vmap(one))(keys, dict(values))
        return {name: np.asarray(value) for name, value in drawn.items()}

    def draw_prior(seed: int, n: int) -> np.ndarray:
        with float64(), _explained():
            keys = jax.random.split(jax.random.key(seed), n)
            return np.asarray(jax.jit(jax.vmap(lambda key: _draw_prior(program, data, latents, key)))(keys))

    return Density("numpyro", sites, latents, graph, inputs, invert, simulate, draw_prior)


# -- reading the sites ---------------------------------------------------------------------------------


def _read(program: Program, data: Mapping[str, Any]) -> tuple[tuple[Site, ...], dict[str, tuple[int, ...]]]:
    """One abstract run: the sites, and the unconstrained shape of each latent one."""
    sites: list[Site] = []
    layout: dict[str, tuple[int, ...]] = {}

    def run(arrays: _Arrays) -> None:
        for message in _run(program, data, arrays, _any_point).values():
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
            try:
                jax.eval_shape(run, arrays)
                break
            except _NEEDS_NUMBERS:
                if not arrays:
                    raise
    return tuple(sites), layout


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
    program: Program, data: Mapping[str, Any], arrays: _Arrays, substitute: Callable[[Any], Any]
) -> _Trace:
    """Run the program with latent sites substituted, and give back its trace."""
    guarded = _NoFreeParameters(handlers.substitute(program, substitute_fn=substitute))
    return handlers.trace(guarded).get_trace(**{**data, **arrays})


class _NoFreeParameters(numpyro.primitives.Messenger):
    """Refuses what a posterior has no place for: parameters without a prior, and random minibatches."""

    def process_message(self, msg: Any) -> None:
        if msg["type"] == "param" and msg["value"] is None:
            raise UnsupportedProgram(
                f"site {msg['name']!r}",
                got="a numpyro.param without a value",
                expected="sample sites only: a posterior method draws what has a prior",
                fix="Give it a prior with numpyro.sample, or hold it fixed: "
                f'numpyro.handlers.substitute(program, data={{"{msg["name"]}": value}}).',
            )
        if msg["type"] == "plate" and msg["args"][1] not in (None, msg["args"][0]):
            raise UnsupportedProgram(
                f"plate {msg['name']!r}",
                got=f"a random subsample of {msg['args'][1]} out of {msg['args'][0]}",
                expected="all of the data: a Markov chain needs one density, not a random one",
                fix="Leave out subsample_size=.",
            )


def _any_point(message: Any) -> Any:
    """Some value in the support of a latent site: the image of zero."""
    if message["type"] != "sample" or message["is_observed"] or message["value"] is not None:
        return None
    distribution = message["fn"]
    shape = (*message["kwargs"].get("sample_shape", ()), *distribution.shape())
    if distribution.is_discrete:
        return jnp.zeros(shape, dtype=int)
    bijection = biject_to(distribution.support)
    return bijection(jnp.zeros(bijection.inverse_shape(shape)))


def _point(latents: tuple[Latent, ...], z: jax.Array) -> Callable[[Any], Any]:
    """Put each latent site at the image of its slice of ``z``, and record the Jacobian."""
    parts = {latent.name: z[latent.start : latent.stop].reshape(latent.shape) for latent in latents}

    def substitute(message: Any) -> Any:
        if message["type"] != "sample" or message["name"] not in parts:
            return None
        part, distribution = parts[message["name"]], message["fn"]
        bijection = biject_to(distribution.support)
        step = message["infer"].get("_scan_current_index")
        shape = (*message["kwargs"].get("sample_shape", ()), *distribution.shape())
        if step is not None and part.ndim > len(bijection.inverse_shape(shape)):
            part = part[step]  # inside numpyro's scan, one step of the whole series
        value = bijection(part)
        jacobian = bijection.log_abs_det_jacobian(part, value)
        numpyro.deterministic(f"{_JACOBIAN}/{message['name']}", jnp.sum(jacobian))
        return value

    return substitute


# -- tracing the density -------------------------------------------------------------------------------


def _trace(program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...]) -> tuple[Graph, Inputs]:
    """The program as a graph of ``(inputs, z)``, and its inputs."""
    # What validation could find is found by the abstract run; here it would only swell the graph.
    with float64(), _explained(), numpyro.validation_enabled(is_validate=False):
        for arrays in ways_to_trace(data):
            names = list(arrays)

            def evaluate(values: list[Any], z: jax.Array, names: list[str] = names) -> Evaluation:
                changing = dict(zip(names, values, strict=True))
                return _evaluation(_run(program, data, changing, _point(latents, z)))

            try:
                return trace(evaluate, list(arrays.values()), jnp.zeros(latents[-1].stop))
            except _NEEDS_NUMBERS:
                if not arrays:
                    raise
    raise AssertionError("the last way to trace either returns or raises")


def _evaluation(messages: _Trace) -> Evaluation:
    """Sum up a trace: the log joint, and everything read along with it."""
    log_joint = log_base = jnp.zeros(())
    result = Evaluation(log_joint, log_base, {}, {}, {}, {}, {}, {})
    for name, message in messages.items():
        if message["type"] == "deterministic":
            if _JACOBIAN in name:
                log_joint = log_joint + jnp.sum(message["value"])
                log_base = log_base + jnp.sum(message["value"])
            else:
                result.deterministics[name] = jnp.asarray(message["value"])
        if message["type"] != "sample":
            continue
        distribution, value = message["fn"], message["value"]
        log_prob = distribution.log_prob(value)
        if isinstance(_base(distribution), Unit):
            pass  # a factor: neither prior nor likelihood
        elif message["is_observed"]:
            # NumPyro's distributions do not mask impossible observations unless they validate.
            possible = _in_support(distribution, value)
            log_prob = jnp.where(possible, log_prob, -jnp.inf)
            result.log_likelihood[name] = log_prob
            result.observed[name] = jnp.asarray(value)
            result.in_support[name] = jnp.all(possible)
        else:
            result.values[name] = jnp.asarray(value)
            result.log_prior[name] = log_prob
            log_base = log_base + jnp.sum(log_prob)
        scale = 1.0 if message["scale"] is None else message["scale"]
        log_joint = log_joint + jnp.sum(scale * log_prob)
    return result._replace(log_joint=log_joint, log_base=log_base)


def _in_support(distribution: Distribution, value: Any) -> jax.Array:
    """Which observations are possible; those that are masked out do not count."""
    if isinstance(distribution, MaskedDistribution):
        return jnp.asarray(distribution.support(value)) | ~jnp.asarray(distribution._mask)
    return jnp.asarray(distribution.support(value))


# -- other directions ----------------------------------------------------------------------------------


def _invert(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], values: Mapping[str, jax.Array]
) -> jax.Array:
    messages = _run(program, data, {}, lambda message: values.get(message["name"]))
    parts = [
        biject_to(messages[latent.name]["fn"].support).inv(messages[latent.name]["value"]).ravel()
        for latent in latents
    ]
    return jnp.concatenate(parts)


def _draw_prior(
    program: Program, data: Mapping[str, Any], latents: tuple[Latent, ...], key: jax.Array
) -> jax.Array:
    """One draw of the latent sites from their priors, in unconstrained space ``(dim,)``."""
    names = [latent.name for latent in latents]
    parts: dict[str, jax.Array] = {}

    def draw(message: Any) -> Any:
        name, distribution = message["name"], message["fn"]
        if name not in names or message["is_observed"]:
            return None
        sample_shape = message["kwargs"].get("sample_shape", ())
        try:
            value = distribution.sample(jax.random.fold_in(key, names.index(name)), sample_shape)
        except NotImplementedError:
            raise no_prior_draws(name, type(_base(distribution)).__name__) from None
        parts[name] = biject_to(distribution.support).inv(value).ravel()
        return value

    _run(program, data, {}, draw)
    return jnp.concatenate([parts[name] for name in names])


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
        if msg["type"] != "sample" or not msg["is_observed"] or isinstance(_base(msg["fn"]), Unit):
            return
        if msg.get("_control_flow_done", False):
            raise UnsupportedProgram(
                f"site {msg['name']!r}",
                got="an observed site inside numpyro's scan",
                expected="observed sites outside of it, for predictive draws",
                fix="Observe the scanned states after the loop: numpyro.sample(..., obs=y) on its outputs.",
            )
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
