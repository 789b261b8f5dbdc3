"""Laplace's approximation: the Gaussian at the posterior's mode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg
from scipy.special import logsumexp

from ppgen.checks import check_integer
from ppgen.errors import PpgenError
from ppgen.findings import Finding
from ppgen.inference.batch import Batch, Batching, draw_or_error, one_by_one
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import Mode, find_modes, find_modes_together
from ppgen.inference.pointwise import flatten_draws
from ppgen.inference.weights import Weights
from ppgen.program.density import Density

__all__ = ["Laplace", "LaplaceFit"]

_REMEDY = 'Take a richer guide (method="svi", guide="nsf"), or method="nuts".'
# Largest share of the mass in other modes before the Gaussian at one of them is reported as wrong.
_LARGEST_ELSEWHERE = 0.01
# How many data sets are fitted together, unless their Hessians would take too much memory.
_DATA_SETS = 64
_LARGEST_DIM_TOGETHER = 60


class LaplaceFit(NamedTuple):
    """The fitted Gaussian.

    Attributes:
        mode: ``(dim,)``, where the unconstrained density is largest.
        factor: ``(dim, dim)``, the lower Cholesky factor of the covariance.
        log_evidence: Laplace's estimate, in nats; exact where the posterior is Gaussian.
    """

    mode: np.ndarray
    factor: np.ndarray
    log_evidence: float


@dataclass(frozen=True)
class Laplace:
    r"""Options of ``ppgen.infer(..., method="laplace")``.

    .. math:: q(z) = N(z^*, H^{-1}), \quad z^* = \arg\max \log \pi(z), \quad H = -\nabla^2 \log \pi(z^*)

    in unconstrained space. The draws are the Gaussian's, with importance weights: ``post.corrected()``
    resamples by them where their Pareto shape allows it. The log evidence is the log of the mean weight.

    Attributes:
        starts: how many starting points to search for the mode from; of several modes, the one with the
            largest mass is used, and others with more than 1 % of the mass are reported.

    References:
        Tierney and Kadane (1986), doi:10.1080/01621459.1986.10478240.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> import ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": 2.0}, method="laplace", progress=False)
        >>> print(f"{post.log_evidence.value:.6f}")                  # log N(2; 0, sqrt 2)
        -2.265512
    """

    name: ClassVar[str] = "laplace"

    starts: int = 8

    def __post_init__(self) -> None:
        check_integer("starts", self.starts, example=8)

    def draw(self, density: Density, request: Request) -> Drawn:
        """Find the mode, and draw from the Gaussian there.

        Raises:
            InferenceError: if the density has no maximum, or its Hessian there is not definite.
        """
        drawn = _draw_at(density, find_modes(density, request.seed, self.starts), request)
        assert drawn.log_weights is not None
        drift = find_drift(
            density, flatten_draws(drawn.positions), flatten_draws(drawn.log_weights), request.seed
        )
        return replace(drawn, findings=drawn.findings + drift)

    def batching(self, density: Density, request: Request) -> Batching:
        """Run Newton's method from all starts of all data sets at once."""
        if density.dim > _LARGEST_DIM_TOGETHER:
            return one_by_one(f"more than {_LARGEST_DIM_TOGETHER} unconstrained dimensions")
        how = f"{_DATA_SETS} data sets at a time: Newton's method from all starts as one vectorised loop."
        # Hundreds of Hessians are solved in one batch, which XLA itself spreads over the cores.
        return Batching(_DATA_SETS, 1, how)

    def draw_many(self, batch: Batch, requests: Sequence[Request]) -> list[Drawn | PpgenError]:
        """Draw from the Gaussians at the modes; where no climb finds one, as :meth:`draw` does.

        The draws are not checked against their weighted moments: that takes longer than the rest.
        """
        modes = find_modes_together(batch, [request.seed for request in requests], self.starts)
        return [
            _draw_at(density, found, request) if found else draw_or_error(self, density, request)
            for density, found, request in zip(batch.densities, modes, requests, strict=True)
        ]

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Draw more from the same Gaussian."""
        more = _draw_from(density, drawn.fit, request, drawn.log_weights)
        return replace(more, findings=drawn.findings, how=drawn.how)

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Compare the draws with their weighted means and standard deviations."""
        return diagnose_draws(
            draws,
            log_weights=drawn.log_weights,
            khat=drawn.khat,
            ess=drawn.ess,
            findings=drawn.findings,
            remedy=_REMEDY,
        )


def _draw_at(density: Density, modes: list[Mode], request: Request) -> Drawn:
    """Draw at the heaviest mode, and report the others."""
    best = modes[0]
    # A triangular root of the covariance: the inverse of the precision's reversed factor.
    reverse = np.linalg.cholesky(best.precision[::-1, ::-1])[::-1, ::-1]
    factor = scipy.linalg.solve_triangular(reverse, np.eye(density.dim), lower=False).T
    elsewhere = 1 - math.exp(best.log_mass - logsumexp([mode.log_mass for mode in modes]))
    how = f"Laplace's own estimate of the log evidence is {best.log_mass:.4f}."
    if len(modes) > 1:
        how += f" {len(modes)} modes were found; the draws are around the one with the largest mass."
    findings = (_other_modes(len(modes), elsewhere),) if elsewhere > _LARGEST_ELSEWHERE else ()
    fit = LaplaceFit(best.position, factor, best.log_mass)
    return replace(_draw_from(density, fit, request, None), findings=findings, how=how)


def _other_modes(modes: int, elsewhere: float) -> Finding:
    return Finding(
        "several modes",
        "problem",
        f"The posterior has {modes} modes or more, and {elsewhere:.0%} of its mass is not around the one "
        "that was drawn from.",
        'Take method="smc".',
        {"modes": modes, "elsewhere": elsewhere},
    )


def _draw_from(density: Density, fit: LaplaceFit, request: Request, before: np.ndarray | None) -> Drawn:
    """Draw from the Gaussian; ``before (chain, draw)`` are the log weights of the earlier draws."""
    shape = (request.chains, request.draws)
    earlier = np.zeros((request.chains, 0)) if before is None else before
    noise = np.random.default_rng([request.seed, earlier.shape[1]]).normal(size=(*shape, density.dim))
    positions = fit.mode + noise @ fit.factor.T
    log_q = (
        -np.square(noise).sum(-1) / 2
        - density.dim / 2 * math.log(2 * math.pi)
        - np.log(np.abs(np.diag(fit.factor))).sum()
    )
    lp = log_densities(density, flatten_draws(positions)).log_joint.reshape(shape)
    weights = Weights(np.concatenate([earlier, lp - log_q], 1).ravel())
    return Drawn(
        positions,
        {"lp": lp},
        lp - log_q,
        log_evidence=weights.log_evidence if weights.usable else None,
        khat=weights.khat,
        fit=fit,
        cites=("laplace", "psis"),
    )
