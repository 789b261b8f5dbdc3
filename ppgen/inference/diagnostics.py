"""Whether draws can be trusted: the numbers, and findings that say what is wrong and how to fix it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ppgen.findings import Evidence, Finding, judge, problems_of, worst_of
from ppgen.inference.convergence import ess_bulk, ess_tail, rhat
from ppgen.inference.weights import Weights, khat_threshold
from ppgen.program.density import Density
from ppgen.style.entries import entries_of

__all__ = ["Diagnostics", "diagnose_chains", "diagnose_draws", "drifting_sites", "scalars_of"]

_LARGEST_RHAT = 1.01
_SLIGHT_RHAT = 1.05  # below it, longer chains usually suffice
_SMALLEST_ESS_PER_CHAIN = 100
_SMALLEST_SHARE_OF_MOVES = 0.1
_FEW_DIVERGENCES = 0.001  # a smaller share is a warning
_SMALLEST_BFMI = 0.3
# Chains start within 2 of the origin. Those that went this far, and disagree so much, will not return.
_FAR = 1e6
_DRIFTING_RHAT = 1.1
# A guide is said to be off from here on, in sd of the mean and in the logarithm of the sd.
_LARGEST_SHIFT = 0.1
_LARGEST_STRETCH = 0.1


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of the draws.

    Attributes:
        rhat_max: the largest rank-normalised split R-hat; 1 when the chains agree, NaN for methods
            whose draws are not Markov chains.
        ess_bulk_min, ess_tail_min: the smallest effective sample sizes, in the bulk and the tails; for
            weighted draws, what the weights leave of their number.
        divergences: how many trajectories diverged after warm-up.
        acceptance_rate: the mean over all draws; NaN for methods that accept or reject nothing.
        khat: the Pareto shape of the importance weights, for methods that have them.
        worst: the quantity with the largest R-hat; empty if there is none.
        findings: everything that was checked, as data, passed or not.
    """

    rhat_max: float
    ess_bulk_min: float
    ess_tail_min: float
    divergences: int
    acceptance_rate: float
    khat: float | None
    worst: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return worst_of(self.findings) == "ok"

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems, each as a sentence with its remedy; empty if there are none."""
        return problems_of(self.findings)

    def __str__(self) -> str:
        if np.isnan(self.rhat_max):
            numbers = f"{self.ess_bulk_min:.0f} effective draws"
        else:
            numbers = (
                f"R-hat at most {self.rhat_max:.3f} ({self.worst}), ESS at least {self.ess_bulk_min:.0f} "
                f"(bulk) and {self.ess_tail_min:.0f} (tail), {self.divergences} divergences, "
                f"acceptance rate {self.acceptance_rate:.2f}"
            )
        if self.khat is not None:
            numbers += f", Pareto k-hat {self.khat:.2f}"
        return "\n".join([numbers, *(f"- {problem}" for problem in self.problems or ("No problems found.",))])


def diagnose_chains(
    draws: Mapping[str, np.ndarray],
    stats: Mapping[str, np.ndarray],
    *,
    max_tree_depth: int | None = None,
    findings: tuple[Finding, ...] = (),
) -> Diagnostics:
    """Diagnose the draws of Markov chains.

    R-hat, bulk and tail effective sample size as in Vehtari, Gelman, Simpson, Carpenter and Bürkner
    (2021, arXiv:1903.08008), for every entry of every site and for the log density; the energy
    fraction of missing information as in Betancourt (2016, arXiv:1604.00695).

    Args:
        draws: the latent sites, ``(chain, draw, *event)``.
        stats: the sampler's statistics, ``(chain, draw)``, under ArviZ's names: ``lp``; and those of
            ``acceptance_rate``, ``diverging``, ``tree_depth`` and ``energy`` that it has.
        max_tree_depth: the depth at which trajectories were cut off.
        findings: problems that the sampler itself found.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> stats = {name: rng.normal(size=(4, 500)) for name in ("lp", "energy", "acceptance_rate")}
        >>> stats |= {"diverging": np.zeros((4, 500), bool), "tree_depth": np.full((4, 500), 3)}
        >>> good = rng.normal(size=(4, 500))
        >>> diagnose_chains({"mu": good}, stats, max_tree_depth=10).ok
        True
        >>> bad = good + np.array([[0.0], [0.0], [0.0], [9.0]])
        >>> print(diagnose_chains({"mu": bad}, stats, max_tree_depth=10).problems[0])
        Chain 3 has not found what the others agree on (R-hat of mu is 1.53, without it 1.00): ...
    """
    scalars = dict(scalars_of({**draws, "log density": stats["lp"]}))
    finite = {name for name, values in scalars.items() if np.isfinite(values).all()}
    rhats = {name: rhat(values) if name in finite else math.inf for name, values in scalars.items()}
    bulk = min(ess_bulk(values) if name in finite else 0.0 for name, values in scalars.items())
    tail = min(ess_tail(values) if name in finite else 0.0 for name, values in scalars.items())
    worst = max(rhats, key=lambda name: np.nan_to_num(rhats[name], nan=np.inf))
    found = [
        *findings,
        *_moving(scalars["log density"]),
        _agreement(rhats[worst], worst, scalars[worst], stats["lp"]),
        _size(bulk, tail, _SMALLEST_ESS_PER_CHAIN * len(stats["lp"])),
        *_trajectories(stats, max_tree_depth),
    ]
    return Diagnostics(
        rhat_max=rhats[worst],
        ess_bulk_min=bulk,
        ess_tail_min=tail,
        divergences=int(np.sum(stats.get("diverging", 0))),
        acceptance_rate=float(stats["acceptance_rate"].mean()) if "acceptance_rate" in stats else math.nan,
        khat=None,
        worst=worst,
        findings=_without_contradictions(found),
    )


def diagnose_draws(
    draws: Mapping[str, np.ndarray],
    *,
    log_weights: np.ndarray | None = None,
    khat: float | None = None,
    ess: float | None = None,
    findings: tuple[Finding, ...] = (),
    remedy: str = "",
) -> Diagnostics:
    """Diagnose draws that are not Markov chains: a guide's, or a resampled population's.

    Draws with importance weights are compared with their own weighted means and standard deviations,
    if the Pareto shape of the weights allows it (arXiv:1802.02538).

    Args:
        draws: the latent sites, ``(chain, draw, *event)``.
        log_weights: ``(chain, draw)``, for draws from a density other than the posterior.
        khat: the Pareto shape of the weights.
        ess: how many independent draws these are worth; ``None`` for all.
        findings: problems that the method itself found.
        remedy: what to do if the weights cannot be trusted, as a sentence.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(4, 1000))                            # a guide N(0, 1)
        >>> diagnose_draws({"z": z}, log_weights=0.0 * z).ok
        True
        >>> found = diagnose_draws({"z": z}, log_weights=0.5 * z)     # the posterior is N(0.5, 1)
        >>> print(found.problems[0])
        The draws are off, by their importance weights: the mean of z by 0.5 ...corrected(), ...
    """
    size = int(np.prod(next(iter(draws.values())).shape[:2]))
    count = float(size) if ess is None else ess
    found = list(findings)
    if log_weights is not None and np.ptp(log_weights) > 0:
        weights = Weights(log_weights.ravel())
        khat, count = weights.khat, weights.ess
        if weights.usable:
            found.append(_closeness(dict(scalars_of(draws)), weights))
    if khat is not None:
        found.append(_weights(khat, size, remedy))
    found.append(_size(count, count, _SMALLEST_ESS_PER_CHAIN))
    return Diagnostics(
        rhat_max=math.nan,
        ess_bulk_min=count,
        ess_tail_min=count,
        divergences=0,
        acceptance_rate=math.nan,
        khat=khat,
        worst="",
        findings=_without_contradictions(found),
    )


def scalars_of(draws: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Each entry of each site as ``(chain, draw)``; constant entries are left out."""
    for name, values in draws.items():
        for index, label in entries_of(name, values.shape[2:]):
            entry = values[(slice(None), slice(None), *index)]
            if np.ptp(entry) > 0 or entry.size == values.size:
                yield label, entry


def _without_contradictions(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Drop the all-clear on a topic that another finding reports as wrong."""
    findings = tuple(findings)
    wrong = {finding.topic for finding in findings if finding.severity != "ok"}
    return tuple(finding for finding in findings if finding.severity != "ok" or finding.topic not in wrong)


# -- of chains ---------------------------------------------------------------------------------------------


def _moving(log_density: np.ndarray) -> Iterator[Finding]:
    """A chain whose log density hardly ever changes has stopped moving."""
    moved = [float(np.mean(np.diff(values) != 0)) if len(values) > 1 else 0.0 for values in log_density]
    stuck = [chain for chain, share in enumerate(moved) if share < _SMALLEST_SHARE_OF_MOVES]
    topic = "chains that move"
    if not stuck:
        what = f"All chains move, in at least {min(moved):.0%} of their draws."
        yield Finding(topic, "ok", what, evidence={"moved": min(moved)})
    for chain in stuck:
        yield Finding(
            topic,
            "problem",
            f"Chain {chain} is stuck: it moved in {moved[chain]:.0%} of its draws, and must not be used.",
            "Rescale the parameters to the order of 1, or lengthen the warm-up (tune=2000).",
            {"chain": chain, "moved": moved[chain]},
        )


def drifting_sites(density: Density, positions: np.ndarray) -> Iterator[Finding]:
    """Report sites whose chains drift away, each in its own direction.

    Args:
        density: the program's.
        positions: ``(chain, draw, dim)``, in unconstrained space.
    """
    far = np.abs(positions).max(1) > _FAR  # (chain, dim)
    for part in density.latents:
        chains = ", ".join(str(chain) for chain in np.flatnonzero(far[:, part.start : part.stop].any(1)))
        entries = [k for k in range(part.start, part.stop) if far[:, k].any()]
        if any(not rhat(positions[..., k]) < _DRIFTING_RHAT for k in entries):
            largest = float(np.abs(positions[..., entries]).max())
            yield Finding(
                "a proper posterior",
                "problem",
                f"The chains drift away in site {part.name!r} (chains {chains}; up to {largest:.0e} in "
                "unconstrained space): the posterior is improper there, or nearly so.",
                f"Give {part.name!r} a proper prior, or drop it from the program if the data leave it open.",
                {"site": part.name, "chains": chains, "largest": largest},
            )


def _agreement(largest: float, worst: str, values: np.ndarray, log_density: np.ndarray) -> Finding:
    what = f"The chains do not agree: R-hat of {worst} is {largest:.3f}, more than {_LARGEST_RHAT}."
    do = (
        "Run longer (tune=2000, draws=4000); if it stays, the posterior has several modes or a direction "
        "that the data leave open: look at the trace plot and reparametrise."
    )
    evidence: Evidence = {"rhat": largest, "site": worst, "threshold": _LARGEST_RHAT}
    left_out = None if largest <= _LARGEST_RHAT else _odd_chain_out(values)
    if left_out is not None:
        chain, without = left_out
        others = np.delete(log_density, chain, axis=0).mean()
        what = (
            f"Chain {chain} has not found what the others agree on (R-hat of {worst} is {largest:.2f}, "
            f"without it {without:.2f}): its mean log density is {log_density[chain].mean():.1f}, theirs "
            f"{others:.1f}."
        )
        do = (
            "It may be stuck, or in a mode of its own: run more chains to see, lengthen the warm-up "
            "(tune=2000), or reparametrise."
        )
        evidence = {**evidence, "chain": chain, "rhat_without": without}
    return judge(
        "agreement of the chains",
        largest <= _LARGEST_RHAT,
        fine=f"The chains agree: R-hat is at most {largest:.3f} ({worst}).",
        what=what,
        do=do,
        severity="warning" if largest < _SLIGHT_RHAT else "problem",
        evidence=evidence,
    )


def _odd_chain_out(values: np.ndarray) -> tuple[int, float] | None:
    """The one chain without which the others agree, and their R-hat; ``None`` where there is none."""
    if len(values) < 3 or not np.isfinite(values).all():
        return None
    without = [rhat(np.delete(values, chain, axis=0)) for chain in range(len(values))]
    best = int(np.argmin(without))
    agrees = without[best] < 1 + (rhat(values) - 1) / 4 and without[best] < 1.05
    return (best, without[best]) if agrees else None


def _trajectories(stats: Mapping[str, np.ndarray], max_tree_depth: int | None) -> Iterator[Finding]:
    """Findings from the trajectories of Hamiltonian Monte Carlo, if there are any."""
    if "diverging" in stats:
        yield _divergences(stats["diverging"])
    if max_tree_depth is not None:
        yield _lengths(stats["tree_depth"], max_tree_depth)
    if "energy" in stats:
        yield _energy(stats["energy"])


def _divergences(diverging: np.ndarray) -> Finding:
    count, draws = int(diverging.sum()), diverging.size
    return judge(
        "divergences",
        count == 0,
        fine=f"None of {draws} trajectories diverged.",
        what=f"{count} of {draws} trajectories diverged: the draws may miss a region of high curvature.",
        do="Take smaller steps (target_accept=0.99); if they stay, reparametrise, for example a hierarchy by "
        "its non-centred form.",
        severity="warning" if count < _FEW_DIVERGENCES * draws else "problem",
        evidence={"divergences": count, "draws": draws},
    )


def _lengths(depths: np.ndarray, max_tree_depth: int) -> Finding:
    share, deepest = float((depths >= max_tree_depth).mean()), int(depths.max())
    return judge(
        "length of trajectories",
        share <= 0.01,
        fine=f"Trajectories were long enough: tree depth at most {deepest}.",
        what=f"{share:.0%} of the trajectories were cut off at tree depth {max_tree_depth}: the sampler is "
        "slow here, not wrong.",
        do=f"Rescale the parameters, or write max_tree_depth={max_tree_depth + 2}.",
        evidence={"cut": share, "deepest": deepest, "threshold": max_tree_depth},
    )


def _energy(energy: np.ndarray) -> Finding:
    energy = np.ascontiguousarray(energy)  # sums depend on the layout in memory, in the last digit
    spread = energy.var(axis=1)
    bfmi = np.square(np.diff(energy, axis=1)).mean(axis=1) / np.where(spread > 0, spread, np.inf)
    chain, smallest = int(bfmi.argmin()), float(bfmi.min())
    return judge(
        "energy",
        smallest >= _SMALLEST_BFMI or bool(spread.min() == 0),
        fine="The energy changes freely between draws.",
        what=f"The energy changes too little between draws (BFMI {smallest:.2f} in chain {chain}, wanted "
        f"{_SMALLEST_BFMI}): heavy tails are explored slowly.",
        do="Reparametrise, or take a lighter prior.",
        evidence={"bfmi": smallest, "chain": chain, "threshold": _SMALLEST_BFMI},
    )


# -- of any draws ------------------------------------------------------------------------------------------


def _size(bulk: float, tail: float, wanted: int) -> Finding:
    """Whether the effective sample sizes suffice."""
    smallest = min(bulk, tail)
    return judge(
        "number of draws",
        smallest >= wanted,
        fine=f"There are enough draws: they are worth at least {smallest:.0f} independent ones.",
        what=f"The draws are worth only {smallest:.0f} independent ones (wanted: {wanted}).",
        do="Draw more, for example draws=4000.",
        evidence={"ess_bulk": bulk, "ess_tail": tail, "threshold": wanted},
    )


def _weights(khat: float, draws: int, remedy: str) -> Finding:
    largest = khat_threshold(draws)
    return judge(
        "importance weights",
        khat <= largest,
        fine="What was drawn from is close enough to the posterior for importance weights: Pareto k-hat is "
        f"{khat:.2f}, at most {largest:.2f}.",
        what="What was drawn from is too far from the posterior to be corrected by importance weights: "
        f"Pareto k-hat is {khat:.2f}, more than {largest:.2f}.",
        do=remedy,
        severity="problem",
        evidence={"khat": khat, "threshold": largest},
    )


def _closeness(scalars: Mapping[str, np.ndarray], weights: Weights) -> Finding:
    """Whether a guide's own draws have their weighted means and standard deviations."""
    share = np.exp(weights.smoothed)
    noise = 3 / math.sqrt(weights.ess)  # of the weighted mean, in standard deviations
    off: list[tuple[float, str, str]] = []
    for name, values in scalars.items():
        flat = values.ravel()
        mean = share @ flat
        sd = math.sqrt(share @ np.square(flat - mean))
        shift, stretch = abs(flat.mean() - mean) / sd, abs(math.log(flat.std() / sd))
        if shift > _LARGEST_SHIFT + noise:
            off.append((float(shift), f"mean of {name}", f"{shift:.1f} sd"))
        if stretch > _LARGEST_STRETCH + noise:
            off.append((float(stretch), f"sd of {name}", f"{abs(flat.std() / sd - 1):.0%}"))
    worst = sorted(off, reverse=True)[:3]
    listed = ", ".join(f"the {what} by {much}" for _, what, much in worst)
    return judge(
        "closeness to the posterior",
        not off,
        fine="The draws have the means and standard deviations that their weights give.",
        what=f"The draws are off, by their importance weights: {listed}.",
        do="Take post.corrected(), or a richer guide.",
        evidence={what: amount for amount, what, _ in worst},
    )
