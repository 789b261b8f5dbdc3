"""What is wrong with a posterior, what shows it, and what to do: findings with a traffic light each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ppgen.errors import InvalidArgument
from ppgen.inference.diagnostics import Diagnostics
from ppgen.inference.posterior import Posterior
from ppgen.inference.weights import khat_threshold
from ppgen.workflow.funnels import Funnel, find_funnels

__all__ = ["Diagnosis", "Finding", "Severity", "diagnose"]

Severity = Literal["ok", "warning", "problem"]

_SEVERITIES: tuple[Severity, ...] = ("ok", "warning", "problem")

# Which of the posterior's own problem sentences is about what, and how bad it is.
_TOPICS: tuple[tuple[str, str, Severity], ...] = (
    (r"^Chain \d+ is stuck", "chains that move", "problem"),
    (r"^The chains drift away", "a proper posterior", "problem"),
    (r"^Chain \d+ has not found|^The chains do not agree", "agreement of the chains", "problem"),
    (r"worth only|effective draws", "number of draws", "warning"),
    (r"trajectories diverged", "divergences", "problem"),
    (r"cut off at tree depth", "length of trajectories", "warning"),
    (r"energy changes too little", "energy", "warning"),
    (r"^The draws are off, by their importance weights", "closeness to the posterior", "warning"),
    (r"Pareto k-hat is", "importance weights", "problem"),
)
_OTHER = "the method's own checks"
_FEW_DIVERGENCES = 0.001  # a smaller share is a warning
_SLIGHT_RHAT = 1.05  # below it, longer chains most often do


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what was looked at, in a few words.
        severity: ``"ok"``, ``"warning"`` or ``"problem"``: green, yellow, red.
        what: what was found, as a sentence.
        evidence: the numbers that show it.
        do: what to do, as a sentence; empty if nothing.
    """

    topic: str
    severity: Severity
    what: str
    evidence: str
    do: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"[{self.severity}]", self.what, self.evidence, self.do) if part)


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
        return max((finding.severity for finding in self.findings), key=_SEVERITIES.index, default="ok")

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
        if self.ok:
            return "Nothing was found wrong with these draws."
        return " ".join(
            part for finding in self.wrong for part in (finding.what, finding.evidence, finding.do) if part
        )

    def __str__(self) -> str:
        return "\n".join(str(finding) for finding in self.findings)


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
    if not isinstance(post, Posterior):
        raise InvalidArgument(
            "post",
            got=f"a {type(post).__name__}",
            expected="a ppgen.Posterior",
            fix="Give what ppgen.infer returns; ArviZ data have lost the program.",
        )
    is_chain = not np.isnan(post.diagnostics.rhat_max)
    wrong = [
        _finding(problem, post.diagnostics, post.positions[..., 0].size)
        for problem in post.diagnostics.problems
    ]
    topics = {finding.topic for finding in wrong}
    if is_chain and topics & {"divergences", "energy", "agreement of the chains", "number of draws"}:
        funnels = find_funnels(post)
        if funnels:
            wrong = _explain(wrong, funnels, post)
    right = [
        finding
        for finding in (_chain_facts(post) if is_chain else _draw_facts(post))
        if finding.topic not in topics
    ]
    findings = sorted([*wrong, *right], key=lambda finding: -_SEVERITIES.index(finding.severity))
    return Diagnosis(post.method, tuple(findings))


def _finding(problem: str, numbers: Diagnostics, draws: int) -> Finding:
    """A problem's sentence taken apart: what is wrong, the numbers, and what to do."""
    what, do = _split(problem)
    for pattern, topic, severity in _TOPICS:
        if not re.search(pattern, problem):
            continue
        slight = (topic == "divergences" and numbers.divergences < _FEW_DIVERGENCES * draws) or (
            topic == "agreement of the chains" and numbers.rhat_max < _SLIGHT_RHAT
        )
        return Finding(topic, "warning" if slight else severity, what, "", do)
    return Finding(_OTHER, "problem", what, "", do)


def _split(problem: str) -> tuple[str, str]:
    """The first sentence says what is wrong, the others what to do."""
    parts = re.split(r"(?<=[.!?]) (?=[A-Z])", problem, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _explain(wrong: list[Finding], funnels: tuple[Funnel, ...], post: Posterior) -> list[Finding]:
    """Put the cause first; what it causes needs no cure of its own."""
    worst = funnels[0]
    others = [f"{funnel.scale} and {funnel.site}" for funnel in funnels[1:3]]
    also = f" So it is between {', and between '.join(others)}." if others else ""
    acceptance = getattr(post.settings, "target_accept", 0.9)
    smaller = (
        f" If it must stay centred, take smaller steps: target_accept={0.99 if acceptance < 0.99 else 0.999}."
    )
    cause = Finding(
        "funnel", "problem", worst.what, worst.evidence + also, worst.cure(post.density.engine) + smaller
    )
    caused = {"divergences", "energy", "agreement of the chains", "number of draws"}
    followed = [
        Finding(f.topic, f.severity, f.what, f.evidence, "It follows from the funnel: see there.")
        if f.topic in caused
        else f
        for f in wrong
    ]
    return [cause, *followed]


def _chain_facts(post: Posterior) -> Iterator[Finding]:
    numbers = post.diagnostics
    draws = post.positions[..., 0].size
    yield Finding(
        "agreement of the chains",
        "ok",
        "The chains agree.",
        f"R-hat is at most {numbers.rhat_max:.3f} ({numbers.worst}).",
    )
    yield Finding(
        "number of draws",
        "ok",
        "There are enough draws.",
        f"They are worth {numbers.ess_bulk_min:.0f} independent ones in the bulk and "
        f"{numbers.ess_tail_min:.0f} in the tails, at least.",
    )
    yield Finding("divergences", "ok", "No trajectory diverged.", f"0 of {draws}.")
    if "tree_depth" in post.stats:
        deepest = int(np.max(post.stats["tree_depth"]))
        yield Finding(
            "length of trajectories", "ok", "Trajectories were long enough.", f"Tree depth at most {deepest}."
        )
    yield Finding("energy", "ok", "The energy changes freely between draws.", "")
    yield Finding(
        "chains that move",
        "ok",
        "All chains move.",
        f"Acceptance rate {numbers.acceptance_rate:.2f}.",
    )


def _draw_facts(post: Posterior) -> Iterator[Finding]:
    numbers = post.diagnostics
    draws = post.positions[..., 0].size
    yield Finding(
        "number of draws",
        "ok",
        "There are enough draws.",
        f"They are worth {numbers.ess_bulk_min:.0f} independent ones.",
    )
    if numbers.khat is not None:
        yield Finding(
            "importance weights",
            "ok",
            "What was drawn from is close enough to the posterior for importance weights.",
            f"Pareto k-hat {numbers.khat:.2f}, at most {khat_threshold(draws):.2f} is wanted.",
        )
    if post.log_weights is not None and np.ptp(post.log_weights) > 0:
        yield Finding(
            "closeness to the posterior",
            "ok",
            "The draws have the means and standard deviations that their weights give.",
            "",
        )
