"""What is wrong with a posterior, what shows it, and what to do: all findings, with their causes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ppgen.findings import Finding, Severity, worst_first, worst_of
from ppgen.inference.posterior import Posterior
from ppgen.program.languages.language import find_language
from ppgen.workflow.arguments import check_posterior
from ppgen.workflow.funnels import Funnel, find_funnels

__all__ = ["Diagnosis", "diagnose"]

# What a funnel shows itself by.
_CAUSED_BY_FUNNELS = {"divergences", "energy", "agreement of the chains", "number of draws"}


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at in a posterior, the worst first.

    Attributes:
        method: how the posterior was drawn.
        findings: one for each thing that was looked at.
    """

    method: str
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The worst of all findings."""
        return worst_of(self.findings)

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return self.severity == "ok"

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What was found wrong."""
        return tuple(finding for finding in self.findings if finding.severity != "ok")

    @property
    def reading(self) -> str:
        """What is wrong and what to do, as plain sentences."""
        return " ".join(map(str, self.wrong)) or "Nothing was found wrong with these draws."

    def __str__(self) -> str:
        return "\n".join(f"[{finding.severity}] {finding}" for finding in self.findings)


def diagnose(post: Posterior) -> Diagnosis:
    """Say what is wrong with a posterior, what shows it, and what to do about it.

    Looks at all that the method can be judged by: agreement and length of the chains, divergences and the
    funnel behind them, energy and trajectories; or importance weights, and the method's own checks.

    Args:
        post: a posterior of any method.

    Raises:
        InvalidArgument: if it is no posterior.

    References:
        Vehtari, Gelman, Simpson, Carpenter and Bürkner, arXiv:1903.08008; Betancourt, arXiv:1604.00695;
        Betancourt and Girolami, arXiv:1312.0906; Vehtari, Simpson, Gelman, Yao and Gabry, arXiv:1507.02646.

    Example:
        >>> import ppgen, numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> print(diagnose(ppgen.infer(program, {"y": [1.0, 2.0, 3.0]}, "laplace", progress=False)).reading)
        Nothing was found wrong with these draws.
    """
    check_posterior("post", post, "Give what ppgen.infer returns; ArviZ data have lost the program.")
    findings = post.diagnostics.findings
    is_chain = not np.isnan(post.diagnostics.rhat_max)
    if is_chain and any(f.severity != "ok" and f.topic in _CAUSED_BY_FUNNELS for f in findings):
        findings = _explain(findings, find_funnels(post), post)
    return Diagnosis(post.method, worst_first(findings))


def _explain(
    findings: tuple[Finding, ...], funnels: tuple[Funnel, ...], post: Posterior
) -> tuple[Finding, ...]:
    """Put the cause first; what it causes needs no cure of its own."""
    if not funnels:
        return findings
    worst = funnels[0]
    others = [f"{funnel.scale} and {funnel.site}" for funnel in funnels[1:3]]
    also = f" So it is between {', and between '.join(others)}." if others else ""
    smaller = 0.99 if getattr(post.settings, "target_accept", 0.9) < 0.99 else 0.999
    cause = Finding(
        "funnel",
        "problem",
        worst.what + also,
        f"{worst.cure(find_language(post.density.engine))} If it must stay centred, take smaller steps: "
        f"target_accept={smaller}.",
        {"scale": worst.scale, "site": worst.site, "correlation": worst.correlation},
    )
    return cause, *(_follows(finding) for finding in findings)


def _follows(finding: Finding) -> Finding:
    if finding.severity == "ok" or finding.topic not in _CAUSED_BY_FUNNELS:
        return finding
    return replace(finding, do="It follows from the funnel: see there.")
