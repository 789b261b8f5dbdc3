"""A guide that a user wrote in NumPyro, read as functions of its parameters and of a random key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import Delta, biject_to

from ppgen.inference.guides.checks import GuideSite, check_guide, check_inside, no_gradient
from ppgen.program.arguments import ways_to_trace
from ppgen.program.density import Density, Evaluation, float64
from ppgen.program.explain import explained
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.numpyro.plates import ReadPlates

__all__ = ["GuideDraw", "ReadGuide", "log_jacobian", "read_numpyro_guide"]

_TRIES = 64


class GuideDraw(NamedTuple):
    """One draw of a guide.

    Attributes:
        z: ``(dim,)``, in the program's unconstrained space.
        log_q: its log density in the program's own space. For a reparameterised guide, its gradient is that
            of the draw's path alone; for one that is not, that of the density alone.
    """

    z: jax.Array
    log_q: jax.Array


class ReadGuide(NamedTuple):
    """A guide as a graph.

    Attributes:
        graph: ``(inputs, parameters, key) -> GuideDraw``.
        inputs: the arrays that it reads.
        initial: its parameters at first ``(p,)``, unconstrained and flat.
    """

    graph: Graph
    inputs: Inputs
    initial: np.ndarray


def read_numpyro_guide(
    guide: Callable[..., Any], data: Mapping[str, Any], density: Density, *, path: bool, seed: int
) -> ReadGuide:
    """Read a guide, and check that it is one for the program.

    Args:
        guide: a callable with the program's arguments, that samples its latent sites.
        data: the program's data.
        density: the program's density.
        path: whether gradients go through the draws; else through log q alone.
        seed: of the parameters' random starts.

    Raises:
        ProgramError: if its sites are not the program's latent ones, in name, shape or support.
        UnsupportedProgram: if gradients are to go through the draws of a site that has none.
    """
    guide = ReadPlates(guide)
    with float64(), _explained():
        messages = handlers.trace(handlers.seed(guide, seed)).get_trace(**data)
        sites = [_site(message) for message in messages.values() if _is_latent(message)]
        check_guide(sites, density)
        if path:
            _check_gradients(messages)
        flat, unravel, constraints = _parameters(messages)

        def draw(values: Mapping[str, Any], parameters: jax.Array, key: jax.Array) -> GuideDraw:
            arguments = {**data, **values}
            drawn = _run(guide, arguments, _constrain(unravel(parameters), constraints), key)
            latent = {
                name: message["value"] for name, message in drawn.items() if message["type"] == "sample"
            }
            if path:
                scored = _constrain(unravel(jax.lax.stop_gradient(parameters)), constraints)
            else:
                latent = jax.lax.stop_gradient(latent)
                scored = _constrain(unravel(parameters), constraints)
            log_q = _log_prob(_run(guide, arguments, {**scored, **latent}, key))
            z = density.invert({part.name: latent[part.name] for part in density.latents})
            return GuideDraw(z, log_q)

        graph, inputs = _trace(draw, data, flat)
        found = jax.vmap(lambda key: graph(inputs, flat, key).z)(
            jax.random.split(jax.random.key(seed), _TRIES)
        )
        check_inside(np.asarray(found), density)
    return ReadGuide(graph, inputs, np.asarray(flat))


def log_jacobian(point: Evaluation) -> jax.Array:
    """log |det ∂x/∂z|, from the program's values x to the unconstrained point z."""
    return point.log_base - sum((jnp.sum(value) for value in point.log_prior.values()), jnp.zeros(()))


def _trace(draw: Callable[..., GuideDraw], data: Mapping[str, Any], flat: jax.Array) -> tuple[Graph, Inputs]:
    with numpyro.validation_enabled(is_validate=False):
        for arrays in ways_to_trace(data):
            names = list(arrays)

            def named(values: list[Any], flat: Any, key: Any, names: list[str] = names) -> GuideDraw:
                return draw(dict(zip(names, values, strict=True)), flat, key)

            try:
                return trace(named, list(arrays.values()), flat, jax.random.key(0))
            except (jax.errors.JAXTypeError, jax.errors.NonConcreteBooleanIndexError):
                if not arrays:
                    raise
    raise AssertionError("the last way to trace either returns or raises")


def _run(
    guide: Callable[..., Any], data: Mapping[str, Any], values: Mapping[str, Any], key: jax.Array
) -> Any:
    return handlers.trace(handlers.seed(handlers.substitute(guide, data=values), key)).get_trace(**data)


def _parameters(messages: Mapping[str, Any]) -> tuple[jax.Array, Callable[..., Any], dict[str, Any]]:
    """Unconstrained parameters as one vector, the way back, and their constraints."""
    params = {name: message for name, message in messages.items() if message["type"] == "param"}
    constraints = {
        name: message["kwargs"].get("constraint", numpyro.distributions.constraints.real)
        for name, message in params.items()
    }
    free = {
        name: jax.tree.map(lambda leaf, name=name: _inverse(constraints[name], leaf), message["value"])
        for name, message in params.items()
    }
    flat, unravel = ravel_pytree(free)
    return jnp.asarray(flat, float), unravel, constraints


def _inverse(constraint: Any, leaf: Any) -> jax.Array:
    return jnp.asarray(biject_to(constraint).inv(jnp.asarray(leaf, float)))


def _constrain(free: Mapping[str, Any], constraints: Mapping[str, Any]) -> dict[str, Any]:
    return {name: jax.tree.map(biject_to(constraints[name]), tree) for name, tree in free.items()}


def _log_prob(messages: Mapping[str, Any]) -> jax.Array:
    total = jnp.zeros(())
    for message in messages.values():
        if message["type"] == "sample" and not message["is_observed"]:
            scale = 1.0 if message["scale"] is None else message["scale"]
            total = total + scale * jnp.sum(message["fn"].log_prob(message["value"]))
    return total


def _is_latent(message: Any) -> bool:
    auxiliary = message["infer"].get("is_auxiliary", False) if message["type"] == "sample" else True
    return message["type"] == "sample" and not message["is_observed"] and not auxiliary


def _site(message: Any) -> GuideSite:
    support = message["fn"].support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    name = "" if _is_delta(message["fn"]) else type(support).__name__.strip("_").lower()
    return GuideSite(message["name"], jnp.shape(message["value"]), name)


def _is_delta(distribution: Any) -> bool:
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return isinstance(distribution, Delta)


def _check_gradients(messages: Mapping[str, Any]) -> None:
    for name, message in messages.items():
        if message["type"] == "sample" and not message["is_observed"] and not message["fn"].has_rsample:
            raise no_gradient(name, type(message["fn"]).__name__)


def _explained() -> Any:
    return explained("a guide that runs on the program's data", "numpyro.handlers.seed(guide, 0)(**data)")
