"""Importance sampling from the prior, or from a density that was fitted to the posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.guides import GUIDES
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.laplace import Laplace
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import starting_points
from ppgen.inference.pathfinder import Pathfinder
from ppgen.inference.resampling import Proposals, diagnose_resampled, draw_from
from ppgen.program.density import Density

__all__ = ["Importance"]

_REMEDY = 'Take a proposal nearer to the posterior (proposal="laplace" or "nsf"), or method="smc".'
_PROPOSALS_A_DRAW = 10
_PROPOSALS = ("prior", "laplace", "pathfinder", *GUIDES)


@dataclass(frozen=True)
class Importance:
    r"""Options of ``ppgen.infer(..., method="importance")``.

    Proposals :math:`z_s \sim q` represent the posterior with weights :math:`w_s = \pi(z_s) / q(z_s)`;
    the mean weight estimates the evidence without bias. The draws are resampled from the proposals in
    proportion to the Pareto-smoothed weights.

    Attributes:
        proposal: ``"prior"``, for which all priors must be proper; ``"laplace"`` or ``"pathfinder"``; or
            a guide for ``method="svi"``, by name or as a callable in the program's language.
        samples: how many proposals; by default ten per draw.
        resample: ``False`` returns the first proposals unchanged, with their weights.

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry, *Pareto smoothed importance sampling*, arXiv:1507.02646.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(k):
        ...     p = numpyro.sample("p", dist.Beta(1.0, 1.0))
        ...     numpyro.sample("k", dist.Binomial(10, p), obs=k)
        >>> post = ppgen.infer(program, {"k": 7}, method="importance", progress=False)
        >>> print(f"{np.exp(post.log_evidence.value):.2f}")         # exact: 1 / 11, whatever k
        0.09
    """

    name: ClassVar[str] = "importance"

    proposal: str | Callable[..., Any] = "prior"
    samples: int | None = None
    resample: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.proposal, str):
            check_choice("proposal", self.proposal, _PROPOSALS)
        if self.samples is not None:
            check_integer("samples", self.samples, example=100_000)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Propose, weight and resample.

        Raises:
            UnsupportedProgram: if draws from an improper prior are asked for.
            DataError: if an observation lies outside the support of its site.
            InvalidArgument: if there are fewer proposals than draws.
        """
        return self._draw(density, request, np.zeros(0), seed=request.seed)

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Draw more, out of new proposals; weights and evidence are those of all proposals so far."""
        before = drawn.state["log_weights"]
        seed = int(np.random.default_rng([request.seed, len(before)]).integers(2**31))
        return self._draw(density, request, before, seed)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Judge the weights that the draws have, or were resampled by."""
        return diagnose_resampled(draws, drawn, _REMEDY)

    def _draw(self, density: Density, request: Request, before: np.ndarray, seed: int) -> Drawn:
        size = request.chains * request.draws
        samples = _PROPOSALS_A_DRAW * size if self.samples is None else self.samples
        check_integer("samples", samples, least=size, example=_PROPOSALS_A_DRAW * size)  # one per draw
        found = _propose(self.proposal, density, request._replace(seed=seed), samples)
        drawn = draw_from(found.pool, request, resample=self.resample, seed=seed, before=before)
        drift = () if len(before) else find_drift(density, found.pool.positions, found.pool.log_weights, seed)
        return replace(
            drawn,
            findings=drift,
            state={"log_weights": np.concatenate([before, found.pool.log_weights])},
            fit=found.fit,
            cites=("importance", *dict.fromkeys(("psis", *found.cites))),
            how=found.how,
        )


class _Proposed(NamedTuple):
    pool: Proposals
    how: str = ""
    fit: Any = None
    cites: tuple[str, ...] = ()


def _propose(
    proposal: str | Callable[..., Any], density: Density, request: Request, samples: int
) -> _Proposed:
    if proposal == "prior":
        positions = density.draw_prior(request.seed, samples)
        found = log_densities(density, positions)
        if not np.isfinite(found.log_joint).any():
            starting_points(density, request.seed, 1)  # which says why, if there is no such point at all
        return _Proposed(Proposals(positions, found.log_joint, found.log_ratio))
    drawn = _method(proposal).draw(density, request._replace(chains=1, draws=samples))
    assert drawn.log_weights is not None
    pool = Proposals(drawn.positions[0], drawn.stats["lp"][0], drawn.log_weights[0])
    return _Proposed(pool, drawn.how, drawn.fit, drawn.cites)


def _method(proposal: str | Callable[..., Any]) -> Any:
    """The method whose draws, with their weights, are the proposals."""
    if proposal == "laplace":
        return Laplace()
    if proposal == "pathfinder":
        return Pathfinder(resample=False)
    return import_module("ppgen.inference.svi").SVI(guide=proposal)
