"""Laplace's approximation: the Gaussian at the posterior's mode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import scipy.linalg
from scipy.special import logsumexp

from ppgen.checks import check_integer
from ppgen.findings import Finding
from ppgen.inference.diagnostics import Diagnostics, diagnose_draws
from ppgen.inference.guides.invariance import find_drift
from ppgen.inference.log_densities import log_densities
from ppgen.inference.method import Drawn, Request
from ppgen.inference.optimum import find_modes
from ppgen.inference.weights import Weights
from ppgen.program.density import Density

__all__ = ["Laplace", "LaplaceFit"]

_REMEDY = 'Take a richer guide (method="svi", guide="nsf"), or method="nuts".'
# Other modes may hold so much of the mass before the Gaussian at one of them is said to be wrong.
_LARGEST_ELSEWHERE = 0.01


class LaplaceFit(NamedTuple):
    """The Gaussian that was fitted.

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
        starts: from so many points the mode is climbed to; of several modes, the one with the largest
            mass is taken, and a second that holds more than 1 % is reported.

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
        modes = find_modes(density, request.seed, self.starts)
        best = modes[0]
        # A triangular root of the covariance: the inverse of the precision's reversed factor.
        reverse = np.linalg.cholesky(best.precision[::-1, ::-1])[::-1, ::-1]
        factor = scipy.linalg.solve_triangular(reverse, np.eye(density.dim), lower=False).T
        fit = LaplaceFit(best.position, factor, best.log_mass)
        elsewhere = 1 - math.exp(best.log_mass - logsumexp([mode.log_mass for mode in modes]))
        how = f"Laplace's own estimate of the log evidence is {fit.log_evidence:.4f}."
        findings: tuple[Finding, ...] = ()
        if len(modes) > 1:
            how += f" {len(modes)} modes were found; the draws are around the one with the largest mass."
        if elsewhere > _LARGEST_ELSEWHERE:
            findings = (_other_modes(len(modes), elsewhere),)
        return _draw(density, request, fit, None, findings, how)

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Draw more from the same Gaussian."""
        return _draw(density, request, drawn.fit, drawn, drawn.findings, drawn.how)

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


def _other_modes(modes: int, elsewhere: float) -> Finding:
    return Finding(
        "several modes",
        "problem",
        f"The posterior has {modes} modes or more, and {elsewhere:.0%} of its mass is not around the one "
        "that was drawn from.",
        'Take method="smc".',
        {"modes": modes, "elsewhere": elsewhere},
    )


def _draw(
    density: Density,
    request: Request,
    fit: LaplaceFit,
    before: Drawn | None,
    findings: tuple[Finding, ...],
    how: str,
) -> Drawn:
    earlier = np.zeros((request.chains, 0))
    if before is not None and before.log_weights is not None:
        earlier = before.log_weights
    shape = (request.chains, request.draws)
    noise = np.random.default_rng([request.seed, earlier.shape[1]]).normal(size=(*shape, density.dim))
    positions = fit.mode + noise @ fit.factor.T
    log_q = (
        -np.square(noise).sum(-1) / 2
        - density.dim / 2 * math.log(2 * math.pi)
        - np.log(np.abs(np.diag(fit.factor))).sum()
    )
    lp = log_densities(density, positions.reshape(-1, density.dim)).log_joint.reshape(shape)
    if before is None:
        findings += find_drift(
            density, positions.reshape(-1, density.dim), (lp - log_q).ravel(), request.seed
        )
    drawn = Drawn(
        positions, {"lp": lp}, lp - log_q, findings=findings, how=how, fit=fit, cites=("laplace", "psis")
    )
    weights = Weights(np.concatenate([earlier, lp - log_q], 1).ravel())
    evidence = weights.log_evidence if weights.usable else None
    return replace(drawn, log_evidence=evidence, khat=weights.khat)
