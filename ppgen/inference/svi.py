"""Variational inference: a guide is fitted to the posterior, and its draws carry importance weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ppgen.checks import check_integer, check_number
from ppgen.errors import InvalidArgument, PpgenError
from ppgen.inference.batch import Batch, Batching, one_by_one
from ppgen.inference.cores import concurrent_runs
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.guides.catalog import make_guide
from ppgen.inference.guides.guide import Guide
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.guides.named import GuideDraws, draw_guide, fit_named, restore_guide
from ppgen.inference.guides.objectives import make_bound
from ppgen.inference.guides.recipe import GuideFit, Recipe
from ppgen.inference.guides.together import LANES, fit_together
from ppgen.inference.guides.written import draw_user_guide, fit_user_guide
from ppgen.inference.method import Drawn, Request
from ppgen.inference.pointwise import flatten_draws
from ppgen.inference.weights import Weights
from ppgen.program.density import Density
from ppgen.program.guides import ReadGuide, read_guide
from ppgen.program.subsampling import Minibatches

__all__ = ["SVI"]


@dataclass(frozen=True)
class SVI:
    r"""Options of ``ppgen.infer(..., method="svi")``.

    A guide q is fitted by maximising :math:`\mathrm{E}_q[\log \pi(z) - \log q(z)]`, a lower bound of the log
    evidence. The recipe follows published comparisons (Agrawal, Sheldon and Domke 2020, arXiv:2006.10343;
    Dhaka et al. 2020, arXiv:2009.00666; Welandawe et al. 2022, arXiv:2203.15945): path gradients of many
    draws per step, a race of step sizes, averaged iterates, a stopping rule on their bound, restarts.

    Where plates of the program subsample (``subsample_size=``), each step reads a new minibatch of that many
    observations; the start of the fit and all diagnostics use all of them. See
    :mod:`ppgen.inference.guides.target`.

    Attributes:
        guide: ``"mean_field"``, ``"full_rank"``, ``"low_rank"``, ``"realnvp"``, ``"nsf"`` or ``"iaf"``, or a
            guide in the program's own language: a callable with the program's arguments that samples each
            latent site of the program.
        objective: ``"elbo"``, ``"iwae"``, ``"renyi"`` or ``"wake_sleep"``; the last is for guides that cannot
            be reparameterised. See :mod:`ppgen.inference.guides.objectives`.
        particles: the group size of the last three.
        alpha: the order of Rényi's divergence, from 0 to less than 1.
        samples: draws per step.
        step_size: of Adam; ``None`` to choose it by a race.
        max_steps: the most steps of a fit.
        tolerance: a smaller gain of the bound in 200 steps, in nats, counts as none.
        restarts: how many fits; the one with the best bound is kept.
        rank: of ``low_rank``; ``None`` for the root of the dimension.
        layers, width, knots: sizes of flows; ``None`` for the guide's own.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> data = {"y": [1.0, 2.0, 3.0]}                            # exact: N(1.5, 0.5)
        >>> post = ppgen.infer(program, data, method="svi", progress=False)
        >>> print(f"{post.draws['mu'].mean():.1f} ± {post.draws['mu'].std():.1f}")
        1.5 ± 0.5
    """

    name: ClassVar[str] = "svi"

    guide: str | Callable[..., Any] = "full_rank"
    objective: str = "elbo"
    particles: int = 8
    alpha: float = 0.5
    samples: int = 32
    step_size: float | None = None
    max_steps: int = 20_000
    tolerance: float = 0.002
    restarts: int = 2
    rank: int | None = None
    layers: int | None = None
    width: int | None = None
    knots: int | None = None

    def __post_init__(self) -> None:
        make_bound(self.objective, self.particles, self.alpha)
        if isinstance(self.guide, str):
            make_guide(self.guide, 1, {})
        elif not callable(self.guide):
            raise InvalidArgument(
                "guide",
                got=f"an object of type {type(self.guide).__name__}",
                expected="the name of a guide, or a callable in the program's language",
                fix='Write guide="full_rank".',
            )
        check_integer("samples", self.samples, example=32)
        check_integer("max_steps", self.max_steps, example=20_000)
        check_integer("restarts", self.restarts, example=2)
        check_number("tolerance", self.tolerance, above=0.0, example=0.002)
        if self.step_size is not None:
            check_number("step_size", self.step_size, above=0.0, example=0.01)
        for name, size in self._sizes.items():
            if size is not None:
                check_integer(name, size, example=4)

    @property
    def recipe(self) -> Recipe:
        """How the guide is fitted."""
        bound = make_bound(self.objective, self.particles, self.alpha)
        return Recipe(bound, self.step_size, self.max_steps, self.tolerance)

    def make_guide(self, dim: int) -> Guide:
        """The guide that is asked for by name, on ``dim`` dimensions."""
        assert isinstance(self.guide, str)
        return make_guide(self.guide, dim, self._sizes)

    @property
    def _sizes(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in ("rank", "layers", "width", "knots")}

    def draw(self, density: Density, request: Request) -> Drawn:
        """Fit the guide, and draw from it.

        Raises:
            ProgramError: if a guide that a user wrote does not fit its program.
            UnsupportedProgram: if its draws have no gradient, and the objective needs one; if a latent site
                lies inside of a plate that subsamples.
            InvalidArgument: if plates subsample, and the objective is not the ELBO.
            InferenceError: if no finite log density, or no finite bound, is found.
            DataError: if an observation lies outside the support of its site.
        """
        family = self._family(density, request.seed)
        minibatches = self._minibatches(density)
        state, fit = family.fit(
            self.recipe,
            samples=self.samples,
            restarts=self.restarts,
            seed=request.seed,
            minibatches=minibatches,
        )
        drawn = _as_drawn(family.draw(state, request, 0), state, fit, family.cites)
        positions, log_weights = flatten_draws(drawn.positions), drawn.stats["lp"] - drawn.stats["log_q"]
        drift = find_drift(density, positions, log_weights.ravel(), request.seed)
        drawn = replace(drawn, findings=drawn.findings + drift)
        return drawn if minibatches is None else _say_rows(drawn, minibatches)

    def batching(self, density: Density, request: Request) -> Batching:
        """A guide by name is fitted to many data sets with their steps as one vectorised loop."""
        if density.in_minibatches is not None:
            return one_by_one("each fit reads minibatches of its own")
        if not isinstance(self.guide, str):
            return one_by_one("the guide is one of your own")
        how = f"{LANES} data sets at a time: the steps of their fits made as one vectorised loop."
        rows = max(density.graph.largest_matrix, density.dim)
        return Batching(LANES, concurrent_runs(rows, batch=LANES), how)

    def draw_many(self, batch: Batch, requests: Sequence[Request]) -> list[Drawn | PpgenError]:
        """Fit the guide to every data set, and draw.

        The draws are not checked for drift: that takes longer than the rest.
        """
        guide, seeds = self.make_guide(batch.dim), [request.seed for request in requests]
        counts: Any = {"samples": self.samples, "restarts": self.restarts}
        fits = fit_together(batch, seeds, guide, self.recipe, **counts)

        def draw(density: Density, found: Any, request: Request) -> Drawn | PpgenError:
            if isinstance(found, PpgenError):
                return found
            fitted, fit = found
            return _as_drawn(draw_guide(density, fitted, request, 0), fitted.arrays(), fit, guide.cites)

        return list(map(draw, batch.densities, fits, requests))

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Draw more from the guide that was fitted."""
        family = self._family(density, request.seed)
        more = family.draw(drawn.state, request, drawn.positions.shape[1])
        return _as_drawn(more, drawn.state, drawn.fit, family.cites, before=drawn)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the draws by their importance weights."""
        richer = "Take a richer guide (guide='nsf')" if self.guide != "nsf" else "Take method='smc'"
        return diagnose_draws(
            draws,
            log_weights=drawn.log_weights,
            khat=drawn.khat,
            ess=drawn.ess,
            findings=drawn.findings,
            remedy=f"{richer}, or method='nuts'.",
        )

    def _minibatches(self, density: Density) -> Minibatches | None:
        """The density on minibatches, if its plates subsample."""
        if density.in_minibatches is None:
            return None
        if self.objective != "elbo":
            raise InvalidArgument(
                "objective",
                got=f"{self.objective!r} for a program whose plates subsample",
                expected="'elbo': other bounds are not linear in the log density, and biased by minibatches",
                fix='Write objective="elbo", or leave out subsample_size=.',
            )
        return density.in_minibatches()

    def _family(self, density: Density, seed: int) -> _Named | _Written:
        if isinstance(self.guide, str):
            return _Named(density, self.make_guide(density.dim))
        path = self.objective != "wake_sleep"
        return _Written(density, read_guide(self.guide, density, path=path, seed=seed))


@dataclass(frozen=True, eq=False)
class _Named:
    """A guide by name, with the density that it is fitted to."""

    density: Density
    guide: Guide

    @property
    def cites(self) -> tuple[str, ...]:
        return self.guide.cites

    def fit(self, recipe: Recipe, **options: Any) -> tuple[Mapping[str, np.ndarray], GuideFit]:
        fitted, fit = fit_named(self.density, self.guide, recipe, **options)
        return fitted.arrays(), fit

    def draw(self, state: Mapping[str, np.ndarray], request: Request, first: int) -> GuideDraws:
        return draw_guide(self.density, restore_guide(self.guide, state), request, first)


@dataclass(frozen=True, eq=False)
class _Written:
    """A guide of a user's own, with the density that it is fitted to."""

    density: Density
    guide: ReadGuide
    cites: tuple[str, ...] = ()

    def fit(self, recipe: Recipe, **options: Any) -> tuple[Mapping[str, np.ndarray], GuideFit]:
        fit = fit_user_guide(self.density, self.guide, recipe, **options)
        return {"parameters": fit.parameters}, fit

    def draw(self, state: Mapping[str, np.ndarray], request: Request, first: int) -> GuideDraws:
        return draw_user_guide(self.density, self.guide, state["parameters"], request, first)


def _as_drawn(
    new: GuideDraws,
    state: Mapping[str, np.ndarray],
    fit: GuideFit | None,
    cites: tuple[str, ...],
    before: Drawn | None = None,
) -> Drawn:
    """The draws, with what all of them say of the fit; ``before`` are the ones that they come after."""
    log_weights = new.lp - new.log_q
    earlier = [] if before is None or before.log_weights is None else [before.log_weights.ravel()]
    weights = Weights(np.concatenate([*earlier, log_weights.ravel()]))
    objective = () if fit is None else fit.objective.cites
    findings = () if fit is None else fit.findings
    return Drawn(
        new.positions,
        {"lp": new.lp, "log_q": new.log_q},
        log_weights=log_weights,
        log_evidence=weights.log_evidence if weights.usable else None,
        khat=weights.khat,
        findings=findings if before is None else before.findings,
        how=before.how if before is not None else _describe(fit),
        state=state,
        fit=fit,
        cites=("svi", "svi_recipe", *objective, *cites, "psis"),
    )


def _say_rows(drawn: Drawn, minibatches: Minibatches) -> Drawn:
    """The draws of a program whose plates subsample, with a word on which rows the fit has read."""
    read = ", ".join(f"{plate.rows} of the {plate.size} rows of {plate.name}" for plate in minibatches.plates)
    how = f"{drawn.how} Each step read {read}; the draws and their weights are for all rows."
    return replace(drawn, how=how, cites=(*drawn.cites, "joint_control"))


def _describe(fit: GuideFit | None) -> str:
    if fit is None:
        return ""
    reached = ", ".join(f"{value:.2f}" for value in fit.restarts)
    return (
        f"Fitted {fit.guide} with {int(fit.history.step[-1])} steps of Adam, step size {fit.step_size:g} at "
        f"first; {fit.objective.objective} of the {len(fit.restarts)} restarts: {reached} nats."
    )
