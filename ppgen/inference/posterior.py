"""The posterior, which every method returns."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ppgen.checks import check_integer
from ppgen.errors import InferenceWarning, InvalidArgument, ProgramError
from ppgen.inference import arviz_compat
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Extendable, Method, Request
from ppgen.inference.pointwise import (
    constrain_draws,
    flatten_draws,
    pointwise,
    simulate_data,
    unflatten_draws,
)
from ppgen.inference.posterior_file import StoredPosterior, read_posterior, write_posterior
from ppgen.inference.prediction import check_anew, new_arguments
from ppgen.inference.summary import summarise
from ppgen.inference.weights import LogEvidence
from ppgen.program.arguments import is_array
from ppgen.program.density import Density
from ppgen.program.family import Program
from ppgen.program.read import read_density
from ppgen.program.sites import Site
from ppgen.storage import check_writable

__all__ = ["Posterior", "make_posterior"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws from a program's posterior, with everything needed to judge and use them.

    Attributes:
        draws: each latent and deterministic site as ``(chain, draw, *event)``, in its own support.
        diagnostics: whether the draws can be trusted.
        drawn: the method's draws in unconstrained space, with its own statistics.
        settings: the method with its options.
        request: the requested draws, tune, chains and seed.
        seconds: how long the method took, including compilation.
        density: the program's density.
        data: the program's data.
        coords, dims: names for the entries of sites, as ArviZ takes them; plates give theirs.
    """

    draws: Mapping[str, np.ndarray]
    diagnostics: Diagnostics
    drawn: Drawn
    settings: Method
    request: Request
    seconds: float
    density: Density
    data: Mapping[str, Any]
    coords: Mapping[str, Sequence[Any]]
    dims: Mapping[str, Sequence[str]]

    @property
    def method(self) -> str:
        """The method that drew, by name."""
        return self.settings.name

    @property
    def how(self) -> str:
        """What the method chose and why, if its options left a choice; else empty."""
        return self.drawn.how

    @property
    def seed(self) -> int:
        """The seed of the draws."""
        return self.request.seed

    @property
    def positions(self) -> np.ndarray:
        """The draws in unconstrained space, ``(chain, draw, dim)``."""
        return self.drawn.positions

    @property
    def stats(self) -> Mapping[str, np.ndarray]:
        """The method's own statistics, ``(chain, draw)``, under ArviZ's names."""
        return self.drawn.stats

    @property
    def log_weights(self) -> np.ndarray | None:
        """``(chain, draw)`` log importance weights of :attr:`draws`; ``None`` if unweighted.

        They are log π(z) − log q(z), and zero for draws that have been resampled by such weights.
        """
        return self.drawn.log_weights

    @property
    def log_evidence(self) -> LogEvidence | None:
        """The log marginal likelihood with its standard error, for methods that estimate it."""
        return self.drawn.log_evidence

    def corrected(self, seed: int = 0) -> Posterior:
        """The same draws, resampled by their Pareto-smoothed importance weights.

        Unweighted draws are returned unchanged.

        Args:
            seed: seed of the resampling.

        Raises:
            InferenceError: if the Pareto shape of the weights does not allow it.

        References:
            Vehtari, Simpson, Gelman, Yao and Gabry, *Pareto smoothed importance sampling*, arXiv:1507.02646.
        """
        if self.drawn.weights is None:
            return self
        return self._with(self.drawn.corrected(seed), self.request, self.seconds)

    def extend(self, draws: int = 1000, *, progress: bool = True) -> Posterior:
        """Resume drawing where the method stopped, without a new warm-up.

        Args:
            draws: how many more draws per chain.
            progress: show a progress bar.

        Returns:
            A new :class:`Posterior` with the old draws and the new ones after them.

        Raises:
            InvalidArgument: if the method cannot resume, or ``draws`` is not positive.
        """
        if not isinstance(self.settings, Extendable):
            raise InvalidArgument(
                "method",
                got=f"{self.method!r}, which draws all at once",
                expected="a method that can resume where it stopped",
                fix=f'Draw more to begin with: ppgen.infer(..., method="{self.method}", draws=...).',
            )
        check_integer("draws", draws, example=1000)
        begin = time.perf_counter()
        asked = self.request._replace(draws=draws, progress=progress)
        more = self.settings.extend(self.density, asked, self.drawn)
        longer = self.request._replace(draws=self.request.draws + draws)
        posterior = self._with(
            self.drawn.followed_by(more), longer, self.seconds + time.perf_counter() - begin
        )
        posterior.warn()
        return posterior

    def _with(self, drawn: Drawn, request: Request, seconds: float) -> Posterior:
        names = {"coords": self.coords, "dims": self.dims}
        return make_posterior(self.density, self.data, self.settings, request, drawn, seconds, **names)

    def warn(self) -> None:
        """Issue each problem that the diagnostics found as an :class:`~ppgen.errors.InferenceWarning`."""
        for problem in self.diagnostics.problems:
            warnings.warn(problem, InferenceWarning, stacklevel=3)

    def summary(self) -> Any:
        """A table as ArviZ's: mean, sd, interval, Monte Carlo errors, effective sample sizes, R-hat.

        Draws with importance weights are resampled by them first, where their Pareto shape allows it.
        """
        return summarise(self.equally_weighted().draws, self.coords, self.dims)

    def to_arviz(self, *, predictive: bool = False, prior: int = 0) -> Any:
        """Everything as ArviZ data.

        The groups are posterior, sample_stats, log_likelihood, log_prior, observed_data, constant_data;
        posterior_predictive, prior and prior_predictive if asked for; and the warm-up's if it was kept.
        Draws with importance weights are resampled by them first, if their Pareto shape allows it: ArviZ has
        no weighted draws.

        Args:
            predictive: also resample the observed sites, by the posterior's own seed.
            prior: also draw this many times from the prior, and the observed sites from it.

        Raises:
            UnsupportedProgram: if prior draws are asked for and a prior is improper.
        """
        alike = self.equally_weighted()
        likelihood, log_prior, observed = pointwise(self.density, alike.positions)
        constant = {
            name: value for name, value in self.data.items() if is_array(value) and name not in observed
        }
        groups = {
            "posterior": alike.draws,
            "sample_stats": alike.stats,
            "log_likelihood": likelihood,
            "log_prior": log_prior,
            "posterior_predictive": alike.predictive(self.seed) if predictive else {},
            "observed_data": observed,
            "constant_data": constant,
        }
        if prior:
            groups["prior"], groups["prior_predictive"] = self._draw_prior(prior)
        if self.drawn.warmup is not None:
            groups["warmup_posterior"] = constrain_draws(self.density, self.drawn.warmup.positions)
            groups["warmup_sample_stats"] = self.drawn.warmup.stats
        return arviz_compat.make_arviz(groups, coords=self.coords, dims=self.dims)

    def equally_weighted(self) -> Posterior:
        """These draws if unweighted, else resampled by their weights, if these can be used."""
        weights = self.drawn.weights
        return self.corrected(self.seed) if weights is not None and weights.usable else self

    def _draw_prior(self, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        positions = self.density.draw_prior(self.seed, n)[None]  # (1, n, dim)
        drawn = simulate_data(self.density, positions[0], self.seed)
        sites = constrain_draws(self.density, positions)
        return sites, {name: unflatten_draws(value, (1, n)) for name, value in drawn.items()}

    def infer_discrete(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Draw the discrete latents, which were marginalised: one joint draw per posterior draw.

        They are drawn from their exact posterior given the continuous sites of that draw.

        Args:
            seed: the same seed gives the same draws.

        Returns:
            Each discrete latent site as ``(chain, draw, *shape)``; empty if the program has none.
        """
        shape = self.positions.shape[:2]
        drawn = self.density.infer_discrete(seed, flatten_draws(self.positions))
        return {name: unflatten_draws(value, shape) for name, value in drawn.items()}

    def predictive(
        self, seed: int = 0, data: Mapping[str, Any] | None = None, anew: Collection[str] = ()
    ) -> dict[str, np.ndarray]:
        """Draw from the posterior predictive: each observed site is resampled once per posterior draw.

        Args:
            seed: the same seed gives the same draws.
            data: arguments of the program to predict at instead of those of the fit, by name. What is
                observed is given in its new shape; its values do not matter.
            anew: latent sites to draw from their priors given the others, not from the posterior: the
                effects of new groups, say.

        Returns:
            Each observed site as ``(chain, draw, *shape)``.

        Raises:
            InvalidArgument: if a latent site has another shape at the new arguments.
            UnknownName: if ``anew`` names no latent site.

        Example:
            >>> import numpyro, numpyro.distributions as dist
            >>> import ppgen
            >>> def line(x, y):
            ...     slope = numpyro.sample("slope", dist.Normal(0.0, 10.0))
            ...     numpyro.sample("y", dist.Normal(slope * x, 0.1), obs=y)
            >>> fit = {"x": np.arange(5.0), "y": 2 * np.arange(5.0)}
            >>> post = ppgen.infer(line, fit, method="laplace", progress=False)
            >>> ahead = post.predictive(data={"x": np.array([10.0]), "y": np.zeros(1)})["y"]
            >>> ahead.shape, f"{ahead.mean():.0f}"
            ((4, 1000, 1), '20')
        """
        check_anew(self.density, anew)
        arguments = None if data is None else new_arguments(self.density, data, anew)
        shape = self.positions.shape[:2]
        drawn_sites = {latent.name: self.draws[latent.name] for latent in self.density.latents}
        drawn_sites |= self.infer_discrete(seed)
        flat = {name: flatten_draws(value) for name, value in drawn_sites.items() if name not in anew}
        drawn = self.density.simulate(seed, flat, arguments)
        return {name: unflatten_draws(value, shape) for name, value in drawn.items()}

    def save(self, path: str | Path) -> Path:
        """Write a netCDF file that ArviZ reads, and from which :meth:`load` restores this posterior.

        Raises:
            StorageError: if the file cannot be written, or the method has an option (a guide of the
                user's own) that cannot be stored.
        """
        parts = {name: getattr(self, name) for name in StoredPosterior._fields}
        return write_posterior(path, self.to_arviz(), StoredPosterior(**parts))

    @classmethod
    def load(
        cls, path: str | Path, program: Program, *, method: Method | None = None, engine: str | None = None
    ) -> Posterior:
        """Read a posterior that :meth:`save` wrote; it can be extended and used as if just drawn.

        Args:
            path: the file.
            program: the program of the posterior: files hold no code.
            method: the method that drew it, if it is your own.
            engine: ``"numpyro"`` or ``"pyro"``, if it cannot be detected from the program.

        Raises:
            StorageError: if the file is missing, damaged, or not of ppgen; or ``method`` is needed.
            ProgramError: if the program's log density of the draws differs from the saved one.
        """
        stored = read_posterior(path, method)
        density = read_density(program, stored.data, engine=engine)
        _check_same_program(density, stored.drawn)
        return make_posterior(density, **stored._asdict())

    def to_netcdf(self, path: str | Path) -> Path:
        """Write :meth:`to_arviz` to a netCDF file, which ``arviz.from_netcdf`` reads.

        Raises:
            StorageError: if the file cannot be written.
        """
        checked = check_writable(path)
        arviz_compat.write_netcdf(self.to_arviz(), checked)
        return checked

    def __repr__(self) -> str:
        chains, draws = self.positions.shape[:2]
        state = "ok" if self.diagnostics.ok else f"{len(self.diagnostics.problems)} problems"
        sites = ", ".join(self.draws)
        return f"Posterior({self.method}, {chains} chains of {draws} draws, sites {sites}; {state})"


def make_posterior(
    density: Density,
    data: Mapping[str, Any],
    settings: Method,
    request: Request,
    drawn: Drawn,
    seconds: float,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> Posterior:
    """Transform a method's draws to the program's own space, and diagnose them."""
    settings = drawn.by or settings
    if "lp" not in drawn.stats:
        flat = log_densities(density, flatten_draws(drawn.positions)).log_joint
        drawn = replace(drawn, stats={**drawn.stats, "lp": flat.reshape(drawn.positions.shape[:2])})
    sites = constrain_draws(density, drawn.positions)
    latent = {part.name: sites[part.name] for part in density.latents}
    return Posterior(
        draws=sites,
        diagnostics=settings.diagnose(latent, drawn),
        drawn=drawn,
        settings=settings,
        request=request,
        seconds=seconds,
        density=density,
        data=data,
        coords=coords or {},
        dims={**_plate_dims(density.sites), **(dims or {})},
    )


def _check_same_program(density: Density, drawn: Drawn) -> None:
    """Compare the log density of the last draw with the stored one."""
    last, stored = drawn.positions[0, -1], drawn.stats["lp"][0, -1]
    found = float(density.log_prob(last)) if len(last) == density.dim else np.nan
    if not np.isclose(found, stored, rtol=1e-6, atol=1e-6):
        raise ProgramError(
            "program",
            got=f"a log density of {found:.6g} at the last draw, with {density.dim} unconstrained dimensions",
            expected=f"{stored:.6g} with {len(last)}, as the program had that was saved",
            fix="Load the file with the program that it was saved from.",
        )


def _plate_dims(sites: tuple[Site, ...]) -> dict[str, list[str]]:
    """ArviZ's dimension names from the plates around each site."""
    return {
        site.name: [name or f"{site.name}_dim_{axis}" for axis, name in enumerate(site.dims)]
        for site in sites
        if any(site.dims)
    }
