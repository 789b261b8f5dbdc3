"""NumPyro programs of rows, run in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import lax
from jax.errors import JAXTypeError
from jax.scipy.special import logsumexp
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.primitives import Messenger

from ppgen.errors import UnsupportedProgram
from ppgen.program.family import Program
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.rows import Batch, Parameters, Place, RowPrograms, RowStatement, RowTrace
from ppgen.program.sites import no_bijection

__all__ = ["NumPyroRows"]


class NumPyroRows(RowPrograms):
    """Runs NumPyro programs on rows. A batch's key also drives what is random and no site, as dropout."""

    sample: ClassVar[str] = "numpyro.sample"

    def run(
        self,
        program: Program,
        batch: Batch,
        place: Place | None = None,
        *,
        fixed_draws: bool = False,
        redraw: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch."""
        placed = handlers.seed(_Placed(program, place, fixed_draws, redraw), batch.key)
        with handlers.trace() as traced:
            returned = placed(batch.x, **batch.context)
        sites = {
            name: RowStatement(
                not site["is_observed"], site["value"], site["fn"], site["scale"], partial(_log_prob, site)
            )
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
        return not self.is_discrete(distribution)

    def bijection(self, name: str, distribution: Any) -> Any:
        """From unconstrained space to the support of a latent site."""
        try:
            return biject_to(distribution.support)
        except NotImplementedError:
            raise no_bijection(name, type(distribution).__name__, distribution.support, "numpyro") from None

    def is_discrete(self, distribution: Any) -> bool:
        """Whether values are counts or categories."""
        return bool(distribution.is_discrete)

    @contextmanager
    def evaluation_mode(self, *programs: Program, own_parameters: bool) -> Iterator[None]:
        """Run programs in double precision, without checks."""
        with jax.enable_x64(True), numpyro.validation_enabled(is_validate=False):
            yield

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled once for arrays of one shape."""
        return jax.jit(function)

    def graph(self, function: Callable[..., Any], *examples: np.ndarray) -> tuple[Graph, Inputs]:
        """A function of arrays, traced."""
        try:
            return trace(lambda _, *arrays: function(*arrays), [], *examples)
        except JAXTypeError as error:
            raise UnsupportedProgram(
                "model",
                got="a program that needs the numbers of a row in Python",
                expected="array operations on the rows alone",
                fix="Write jnp.where(condition, a, b) for a branch on a row.",
            ) from error

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
        return jnp.asarray(rows, jnp.result_type(float)) if rows.dtype.kind == "f" else jnp.asarray(rows)

    def as_numpy(self, array: jax.Array) -> np.ndarray:
        """The values of an array."""
        return np.asarray(array)

    def concatenate(self, parts: list[jax.Array]) -> jax.Array:
        """Rows side by side."""
        return jnp.concatenate(parts, 1)

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


class _Placed(Messenger):
    """Gives latent sites their values, and draws the others with or without a gradient."""

    def __init__(self, program: Program, place: Place | None, fixed_draws: bool, redraw: bool) -> None:
        super().__init__(program)
        self.place, self.fixed_draws, self.redraw = place, fixed_draws, redraw

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample":
            return
        if self.redraw and msg["is_observed"]:
            msg["value"], msg["is_observed"] = None, False
        elif self.place is not None and not msg["is_observed"] and msg["value"] is None:
            msg["value"] = self.place(msg["name"], msg["fn"])

    def postprocess_message(self, msg: Any) -> None:
        if self.fixed_draws and msg["type"] == "sample" and not msg["is_observed"]:
            msg["value"] = lax.stop_gradient(msg["value"])


def _log_prob(site: Any) -> jax.Array:
    log_prob = site["fn"].log_prob(site["value"])
    return log_prob if site["scale"] is None else site["scale"] * log_prob
