"""What a diagnostic found: data, from which sentences are made where a person reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Evidence", "Finding", "Severity", "judge", "problems_of", "worst_first", "worst_of"]

Evidence = Mapping[str, float | int | str]
"""Numbers and names, by name."""

Severity = Literal["ok", "warning", "problem"]
"""Green, yellow or red."""

_SEVERITIES: tuple[Severity, ...] = ("ok", "warning", "problem")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what was looked at, in a few words, such as ``"divergences"``.
        severity: ``"ok"``, ``"warning"`` or ``"problem"``.
        what: what was found, as a sentence.
        do: what to do about it, as a sentence; empty if nothing.
        evidence: the numbers and names that show it, such as ``{"chain": 3, "rhat": 1.5}``.

    Example:
        >>> found = Finding("divergences", "warning", "Some diverged.", "Take smaller steps.", {"n": 2})
        >>> print(found)
        Some diverged. Take smaller steps.
        >>> found.evidence["n"]
        2
    """

    topic: str
    severity: Severity
    what: str
    do: str = ""
    evidence: Evidence = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.what} {self.do}".strip()


def judge(
    topic: str,
    ok: bool,
    *,
    fine: str,
    what: str,
    do: str,
    evidence: Evidence,
    severity: Severity = "warning",
) -> Finding:
    """A finding that says ``fine`` where all is in order, else what is wrong and what to do."""
    return Finding(topic, "ok", fine, "", evidence) if ok else Finding(topic, severity, what, do, evidence)


def problems_of(findings: Iterable[Finding]) -> tuple[str, ...]:
    """What is wrong, each a sentence with its remedy."""
    return tuple(str(finding) for finding in findings if finding.severity != "ok")


def worst_of(findings: Iterable[Finding]) -> Severity:
    """The worst severity among findings; ``"ok"`` if there are none."""
    return max((finding.severity for finding in findings), key=_SEVERITIES.index, default="ok")


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in order of severity, those of equal severity in the order given."""
    return tuple(sorted(findings, key=lambda finding: -_SEVERITIES.index(finding.severity)))
