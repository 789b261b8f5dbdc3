"""What every posterior method returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.inference import arviz_compat
from ppgen.inference.diagnostics import Diagnostics
from ppgen.program.arguments import is_array
from ppgen.program.density import Density, float64
from ppgen.program.graph import Graph, Inputs
from ppgen.storage import check_writable

__all__ = ["LogEvidence", "Posterior", "constrain_draws"]


class LogEvidence(NamedTuple):
    """An estimate of the log marginal likelihood, in nats."""

    value: float
    stderr: float


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws from a program's posterior, with everything needed to judge and to use them.

    Attributes:
        draws: each latent and deterministic site as ``(chain, draw, *event)``, in its own support.
        log_weights: ``(chain, draw)`` log importance weights, for methods that have them.
        log_evidence: the log marginal likelihood with its standard error, for methods that have it.
        diagnostics: whether the draws can be trusted.
        method: the method that drew them.
        seed: its seed.
        seconds: how long the method took, compilation included.
        density: the program's density.
        data: the program's data.
        positions: ``(chain, draw, dim)``: the draws in unconstrained space.
        stats: the method's own statistics, ``(chain, draw)``, under ArviZ's names.
        coords, dims: names for the entries of sites, as ArviZ takes them; plates give theirs.
    """

    draws: Mapping[str, np.ndarray]
    log_weights: np.ndarray | None
    log_evidence: LogEvidence | None
    diagnostics: Diagnostics
    method: str
    seed: int
    seconds: float
    density: Density
    data: Mapping[str, Any]
    positions: np.ndarray
    stats: Mapping[str, np.ndarray]
    coords: Mapping[str, Sequence[Any]]
    dims: Mapping[str, Sequence[str]]

    def summary(self) -> Any:
        """ArviZ's table: mean, sd, interval, Monte Carlo error, effective sample sizes, R-hat."""
        groups = {"posterior": self.draws}
        return arviz_compat.summarise(self._arviz(groups))

    def to_arviz(self, *, predictive: bool = False) -> Any:
        """Everything as ArviZ data.

        The groups are posterior, sample_stats, log_likelihood, log_prior, observed_data, constant_data,
        and posterior_predictive if asked for.

        Args:
            predictive: also draw the observed sites anew, by the posterior's own seed.
        """
        log_likelihood, log_prior, observed = _pointwise(self.density, self.positions)
        constant = {
            name: value for name, value in self.data.items() if is_array(value) and name not in observed
        }
        return self._arviz(
            {
                "posterior": self.draws,
                "sample_stats": self.stats,
                "log_likelihood": log_likelihood,
                "log_prior": log_prior,
                "posterior_predictive": self.predictive(self.seed) if predictive else {},
                "observed_data": observed,
                "constant_data": constant,
            }
        )

    def predictive(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Posterior predictive draws: each observed site drawn anew once a posterior draw.

        Args:
            seed: the same seed gives the same draws.

        Returns:
            Each observed site as ``(chain, draw, *shape)``.
        """
        names = [latent.name for latent in self.density.latents]
        shape = self.positions.shape[:2]
        flat = {name: _flatten(self.draws[name]) for name in names}
        drawn = self.density.simulate(seed, flat)
        return {name: _unflatten(value, shape) for name, value in drawn.items()}

    def to_netcdf(self, path: str | Path) -> Path:
        """Write :meth:`to_arviz` to a netCDF file, which ``arviz.from_netcdf`` reads.

        Raises:
            StorageError: if the file cannot be written.
        """
        checked = check_writable(path)
        arviz_compat.write_netcdf(self.to_arviz(), checked)
        return checked

    def _arviz(self, groups: arviz_compat.Groups) -> Any:
        return arviz_compat.make_arviz(groups, coords=self.coords, dims=self.dims)

    def __repr__(self) -> str:
        chains, draws = self.positions.shape[:2]
        state = "ok" if self.diagnostics.ok else f"{len(self.diagnostics.problems)} problems"
        sites = ", ".join(self.draws)
        return f"Posterior({self.method}, {chains} chains of {draws} draws, sites {sites}; {state})"


def constrain_draws(density: Density, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Latent and deterministic sites at unconstrained positions ``(chain, draw, dim)``."""
    with float64():
        sites = _compile_constrain(density.graph)(density.inputs, _flatten(positions))
    return {
        site.name: _unflatten(np.asarray(sites[site.name]), positions.shape[:2])
        for site in density.sites
        if site.name in sites
    }


def _pointwise(
    density: Density, positions: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Log likelihood and log prior by site at each position, and what was observed."""
    shape = positions.shape[:2]
    with float64():
        likelihood, prior, observed = _compile_pointwise(density.graph)(density.inputs, _flatten(positions))
    return (
        {name: _unflatten(np.asarray(value), shape) for name, value in likelihood.items()},
        {name: _unflatten(np.asarray(value), shape) for name, value in prior.items()},
        {name: np.asarray(value) for name, value in observed.items()},
    )


@lru_cache(maxsize=64)
def _compile_constrain(graph: Graph) -> Any:
    def sites(inputs: Inputs, z: jax.Array) -> dict[str, jax.Array]:
        point = graph(inputs, z)
        return point.values | point.deterministics

    return jax.jit(jax.vmap(sites, in_axes=(None, 0)))


@lru_cache(maxsize=64)
def _compile_pointwise(graph: Graph) -> Any:
    def pointwise(inputs: Inputs, z: jax.Array) -> Any:
        point = graph(inputs, z)
        return point.log_likelihood, point.log_prior

    def all_points(inputs: Inputs, z: jax.Array) -> Any:
        likelihood, prior = jax.vmap(pointwise, in_axes=(None, 0))(inputs, z)
        return likelihood, prior, graph(inputs, jnp.asarray(z)[0]).observed

    return jax.jit(all_points)


def _flatten(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *values.shape[2:])  # (chain * draw, *event)


def _unflatten(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return values.reshape(*shape, *values.shape[1:])  # (chain, draw, *event)
