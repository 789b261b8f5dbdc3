"""The rows of a NumPyro program: the two ends of a path are its density of one row, and its guide's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import compute_log_probs
from numpyro.primitives import Messenger

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.evaluation.likelihood.latent_rows import LatentRows, RowPair, Simulated, Start, Subject
from ppgen.program.bounds import log_density
from ppgen.program.density import Density, float64
from ppgen.program.family import Program
from ppgen.program.jaxprs.graph import Inputs, trace
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.numpyro import NumPyroRows
from ppgen.program.read import read_density

__all__ = ["read_numpyro_rows"]

_TRIAL = 3  # rows of the run that looks at shapes: one would hide what all rows share


def read_numpyro_rows(subject: Subject, example: np.ndarray, label: int | None) -> LatentRows:
    """Read the rows of one class off a NumPyro program, at one row ``(*shape)``."""
    programs = _Programs(subject, label)
    with float64():
        programs.check(np.stack([example] * _TRIAL))
    density = read_density(programs.model, {"x": example[None]}, engine="numpyro")
    if len(density.inputs.arrays) != 1:
        raise UnsupportedProgram(
            "model",
            got="a program that needs the numbers of a row in Python",
            expected="array operations on the rows alone",
            fix="Write jnp.where(condition, a, b) for a branch on a row.",
        )

    def pair(start: Start) -> RowPair:
        with float64():
            return _traced(programs, density, start, example)

    @lru_cache(maxsize=8)
    def drawer(start: Start, chains: int) -> Any:
        def draw(key: jax.Array, row: jax.Array) -> jax.Array:
            model_key, guide_key = jax.random.split(key)
            x = jnp.broadcast_to(row, (chains, *row.shape))
            given = {}
            if start == "guide":
                given = _latent(handlers.trace(handlers.seed(programs.guide, guide_key)).get_trace(x))
            return _unconstrained(programs.run(model_key, x, given), density)

        return jax.jit(draw)

    def draw(start: Start, row: np.ndarray, chains: int, seed: int) -> np.ndarray:
        with float64():
            return np.asarray(drawer(start, chains)(jax.random.key(seed), row))

    def simulate(n: int, seed: int) -> Simulated:
        template = np.broadcast_to(example, (n, *example.shape))
        fresh = _Simulating(programs.model, template.shape)
        with float64():
            seeded = handlers.seed(fresh, jax.random.key(seed))
            sites = handlers.trace(seeded).get_trace(jnp.asarray(template))
            return Simulated(fresh.made(sites, example.dtype), np.asarray(_unconstrained(sites, density)))

    return LatentRows(density.dim, pair, draw, simulate)


class _Programs:
    """Model and guide for rows of one class."""

    def __init__(self, subject: Subject, label: int | None) -> None:
        self.subject, self.label = subject, label

    def model(self, x: jax.Array) -> Any:
        return self.subject.model(x, **self._context(len(x)))

    def guide(self, x: jax.Array) -> Any:
        assert self.subject.guide is not None
        return self.subject.guide(x, **self._context(len(x)))

    def _context(self, n: int) -> dict[str, Any]:
        return {} if self.label is None else {"label": jnp.full(n, self.label)}

    def check(self, x: np.ndarray) -> None:
        """Refuse what has not one log density a row, or a guide that does not match."""
        key = jax.random.key(0)
        drawn = handlers.trace(handlers.seed(self.model, key)).get_trace(jnp.asarray(x))
        _check_scales(drawn)
        log_density(NumPyroRows(), self.model, Batch(jnp.asarray(x), key=key))
        wanted = _latent(drawn)
        if not wanted:
            raise ProgramError(
                "model",
                got="no latent site: the log density of a row is exact",
                expected="a program that samples something else than the rows",
                fix="Write model.log_prob(x).",
            )
        if self.subject.guide is None:
            return
        guided = handlers.trace(handlers.seed(self.guide, key)).get_trace(jnp.asarray(x))
        given = _latent(guided)
        if wanted.keys() != given.keys():
            raise ProgramError(
                "guide",
                got=f"the sites {sorted(given)}",
                expected=f"those of the program: {sorted(wanted)}",
                fix="Give the guide a site for each latent site of the program, and no other.",
            )
        for name in given:
            if guided[name]["fn"].support.is_discrete or type(_base(guided[name]["fn"])).__name__ == "Delta":
                raise UnsupportedProgram(
                    f"site {name!r} of the guide",
                    got=f"a {type(_base(guided[name]['fn'])).__name__}",
                    expected="a continuous distribution, with a density to follow",
                    fix="Write start='prior' and leave the guide out.",
                )

    def run(self, key: jax.Array, x: jax.Array, values: Mapping[str, jax.Array]) -> Mapping[str, Any]:
        """The model's statements, with these latent values and its own draws of the others."""
        return handlers.trace(handlers.seed(handlers.substitute(self.model, data=values), key)).get_trace(x)


def _traced(programs: _Programs, density: Density, start: Start, example: np.ndarray) -> RowPair:
    """Both ends; the Jacobian of the start is what the base has beyond the sites' own densities."""

    def ends(constants: list[Any], u: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        point = density.graph(Inputs(constants, [x[None]]), u)
        if start == "prior":
            return point.log_base, point.log_joint
        jacobian = point.log_base - sum((term.sum() for term in point.log_prior.values()), jnp.zeros(()))
        guided, _ = compute_log_probs(
            handlers.seed(programs.guide, jax.random.key(0)), (x[None],), {}, point.values
        )
        return sum(guided.values(), jacobian), point.log_joint

    (given,) = density.inputs.arrays
    graph, inputs = trace(ends, density.inputs.constants, jnp.zeros(density.dim), given[0])
    return RowPair(graph, inputs, np.dtype(given.dtype))


def _latent(sites: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: site["value"]
        for name, site in sites.items()
        if site["type"] == "sample" and not site["is_observed"]
    }


def _unconstrained(sites: Mapping[str, Any], density: Density) -> jax.Array:
    """The latent values of rows as unconstrained vectors ``(n, dim)``."""
    parts = []
    for latent in density.latents:
        site = sites[latent.name]
        part = biject_to(site["fn"].support).inv(site["value"])
        parts.append(part.reshape(len(part), -1))
    return jnp.concatenate(parts, 1).astype(jnp.float64)


def _base(distribution: Any) -> Any:
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def _check_scales(sites: Mapping[str, Any]) -> None:
    for name, site in sites.items():
        if site["type"] == "sample" and site.get("scale") is not None:
            raise UnsupportedProgram(
                f"site {name!r}",
                got="a scaled log density",
                expected="a density, which integrates to 1",
                fix="Take out handlers.scale, and subsample_size= of its plates.",
            )


class _Simulating(Messenger):
    """Draws the observed rows anew."""

    def __init__(self, model: Program, shape: tuple[int, ...]) -> None:
        super().__init__(model)
        self.shape = shape
        self.names: list[str] = []

    def process_message(self, msg: Any) -> None:
        if msg["type"] != "sample" or not msg["is_observed"]:
            return
        if type(_base(msg["fn"])).__name__ == "Unit" or jnp.shape(msg["value"]) != self.shape:
            raise _not_simulated(f"an observed site {msg['name']!r} that is not the rows themselves")
        self.names.append(msg["name"])
        msg["value"], msg["is_observed"] = None, False

    def made(self, sites: Mapping[str, Any], dtype: np.dtype) -> np.ndarray:
        """The rows."""
        if len(self.names) != 1:
            raise _not_simulated(f"{len(self.names)} observed sites")
        return np.asarray(sites[self.names[0]]["value"]).astype(dtype)


def _not_simulated(got: str) -> UnsupportedProgram:
    return UnsupportedProgram(
        "model",
        got=got,
        expected="one observed site, the rows: others cannot be simulated",
        fix="Write annealed_likelihood(model, x) alone, which needs no simulation.",
    )
