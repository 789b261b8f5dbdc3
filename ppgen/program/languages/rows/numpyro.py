"""NumPyro programs of rows, run in JAX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.primitives import Messenger

from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, Parameters, RowPrograms, RowStatement, RowTrace

__all__ = ["NumPyroRows"]


class NumPyroRows(RowPrograms):
    """Runs NumPyro programs on rows. A batch's key also drives what is random and no site, as dropout."""

    sample: ClassVar[str] = "numpyro.sample"

    def run(
        self,
        program: Program,
        batch: Batch,
        values: Mapping[str, Any] | None = None,
        *,
        fixed_draws: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch."""
        placed = handlers.substitute(program, data=dict(values or {}))
        seeded = handlers.seed(placed, batch.key)
        with handlers.trace() as traced:
            returned = (_FixedDraws(seeded) if fixed_draws else seeded)(batch.x, **batch.context)
        sites = {
            name: RowStatement(not site["is_observed"], site["value"], site["fn"], partial(_log_prob, site))
            for name, site in traced.items()
            if site["type"] == "sample"
        }
        return RowTrace(sites, returned)

    def parameters(self, programs: Iterable[Program], batch: Batch) -> Parameters:
        """Run programs on a few rows, and take down the parameters that they declare."""
        declared: dict[str, Any] = {}
        for program, key in zip(programs, jax.random.split(batch.key), strict=False):
            sites = handlers.trace(handlers.seed(program, key)).get_trace(batch.x, **batch.context)
            declared |= {name: site for name, site in sites.items() if site["type"] == "param"}
        bijections = {
            name: biject_to(site["kwargs"].get("constraint", constraints.real))
            for name, site in declared.items()
        }

        def constrain(parameters: Mapping[str, Any]) -> dict[str, Any]:
            return {name: jax.tree.map(bijections[name], value) for name, value in parameters.items()}

        def put(program: Program, parameters: Mapping[str, Any]) -> Program:
            placed: Program = handlers.substitute(program, data=constrain(parameters))
            return placed

        start = {name: jax.tree.map(bijections[name].inv, site["value"]) for name, site in declared.items()}
        return Parameters(start, constrain, put)

    def is_reparameterised(self, distribution: Any) -> bool:
        """Whether a gradient runs through the draws of a distribution."""
        # JAX differentiates whatever draws numbers; only counts and categories have no gradient.
        return not distribution.support.is_discrete

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Run programs and leave nothing behind."""
        yield

    @contextmanager
    def seeded(self, seed: int) -> Iterator[jax.Array]:
        """Draw with this seed inside."""
        yield jax.random.key(seed)

    def split(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Two keys of one."""
        first, second = jax.random.split(key)
        return first, second

    def as_array(self, rows: np.ndarray) -> jax.Array:
        """Rows as a program takes them."""
        return jnp.asarray(rows, jnp.float32) if rows.dtype.kind == "f" else jnp.asarray(rows)

    def as_numpy(self, array: jax.Array) -> np.ndarray:
        """The values of an array."""
        return np.asarray(array)

    def repeat(self, array: jax.Array, times: int) -> jax.Array:
        """The array as often as that along its first axis."""
        return jnp.tile(array, (times, *(1,) * (array.ndim - 1)))

    def logsumexp(self, array: jax.Array) -> jax.Array:
        """Over the first axis."""
        return logsumexp(array, 0)

    def softmax(self, array: jax.Array) -> jax.Array:
        """Over the first axis."""
        return jax.nn.softmax(array, 0)

    def stop_gradient(self, array: jax.Array) -> jax.Array:
        """The same values as constants."""
        return lax.stop_gradient(array)


class _FixedDraws(Messenger):
    """Lets no gradient run through draws."""

    def postprocess_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and not msg["is_observed"]:
            msg["value"] = lax.stop_gradient(msg["value"])


def _log_prob(site: Any) -> jax.Array:
    log_prob = site["fn"].log_prob(site["value"])
    return log_prob if site["scale"] is None else site["scale"] * log_prob
