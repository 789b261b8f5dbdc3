"""Whether draws can be trusted: the numbers, and in words what is wrong and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ppgen.inference.convergence import ess_bulk, ess_tail, rhat
from ppgen.inference.weights import Weights, explain_khat, khat_threshold
from ppgen.program.density import Density

__all__ = ["Diagnostics", "diagnose_chains", "diagnose_draws", "drifting_sites", "scalars_of"]

_LARGEST_RHAT = 1.01
_SMALLEST_ESS_PER_CHAIN = 100
_SMALLEST_BFMI = 0.3
# Chains start within 2 of the origin. What has gone so far, and disagrees so much, is on no way back.
_FAR = 1e6
_DRIFTING_RHAT = 1.1
# A guide is said to be off from here on, in sd of the mean and in the logarithm of the sd.
_LARGEST_SHIFT = 0.1
_LARGEST_STRETCH = 0.1


@dataclass(frozen=True)
class Diagnostics:
    """What the draws say about themselves.

    Attributes:
        rhat_max: the largest rank-normalised split R-hat; 1 when the chains agree, NaN for methods
            whose draws are no Markov chains.
        ess_bulk_min, ess_tail_min: the smallest effective sample sizes, in the bulk and the tails; for
            weighted draws, what the weights leave of their number.
        divergences: how many trajectories left the typical set after warm-up.
        acceptance_rate: the mean over all draws; NaN for methods that accept or reject nothing.
        khat: the Pareto shape of the importance weights, for methods that have them.
        worst: the quantity with the largest R-hat; empty without one.
        problems: what is wrong, each a sentence with its remedy; empty if nothing is.
    """

    rhat_max: float
    ess_bulk_min: float
    ess_tail_min: float
    divergences: int
    acceptance_rate: float
    khat: float | None
    worst: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.problems

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
    max_tree_depth: int,
    findings: tuple[str, ...] = (),
) -> Diagnostics:
    """Diagnose the draws of Markov chains.

    R-hat, bulk and tail effective sample size as in Vehtari, Gelman, Simpson, Carpenter and Bürkner
    (2021, arXiv:1903.08008), for every entry of every site and for the log density; the energy
    fraction of missing information as in Betancourt (2016, arXiv:1604.00695).

    Args:
        draws: the latent sites, ``(chain, draw, *event)``.
        stats: the sampler's statistics, ``(chain, draw)``, under ArviZ's names.
        max_tree_depth: the depth at which trajectories were cut off.
        findings: what the sampler itself has found wrong.

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
    finite = {name: values for name, values in scalars.items() if np.isfinite(values).all()}
    overflown = [name for name in scalars if name not in finite]
    rhats = {name: rhat(values) for name, values in finite.items()} | dict.fromkeys(overflown, math.inf)
    bulk = {name: ess_bulk(values) for name, values in finite.items()} | dict.fromkeys(overflown, 0.0)
    tail = {name: ess_tail(values) for name, values in finite.items()} | dict.fromkeys(overflown, 0.0)
    worst = max(rhats, key=lambda name: np.nan_to_num(rhats[name], nan=np.inf))
    numbers = Diagnostics(
        rhat_max=rhats[worst],
        ess_bulk_min=min(bulk.values()),
        ess_tail_min=min(tail.values()),
        divergences=int(stats["diverging"].sum()),
        acceptance_rate=float(stats["acceptance_rate"].mean()),
        khat=None,
        worst=worst,
        problems=(),
    )
    problems = [
        *findings,
        *_stuck_chains(scalars),
        *_disagreement(numbers, scalars[worst], stats["lp"]),
        *_few_draws(numbers, chains=len(stats["lp"])),
        *_divergences(numbers, draws=stats["diverging"].size),
        *_cut_trajectories(stats["tree_depth"], max_tree_depth),
        *_low_energy(stats["energy"]),
    ]
    return Diagnostics(**{**vars(numbers), "problems": tuple(problems)})


def diagnose_draws(
    draws: Mapping[str, np.ndarray],
    *,
    log_weights: np.ndarray | None = None,
    khat: float | None = None,
    ess: float | None = None,
    findings: tuple[str, ...] = (),
    remedy: str = "",
) -> Diagnostics:
    """Diagnose draws that are no Markov chains: a guide's, or a resampled population's.

    Draws with importance weights are held against their own weighted means and standard deviations,
    if the Pareto shape of the weights allows that (arXiv:1802.02538).

    Args:
        draws: the latent sites, ``(chain, draw, *event)``.
        log_weights: ``(chain, draw)``, for draws of another density than the posterior.
        khat: the Pareto shape of the weights.
        ess: how many independent draws these are worth; ``None`` for all.
        findings: what the method itself has found wrong.
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
    size = next(iter(draws.values())).shape[:2]
    count = float(np.prod(size)) if ess is None else ess
    problems = list(findings)
    if log_weights is not None and np.ptp(log_weights) > 0:
        weights = Weights(log_weights.ravel())
        khat, count = weights.khat, weights.ess
        if weights.usable:
            problems += _off_by_weights(dict(scalars_of(draws)), weights)
        else:
            problems.append(weights.explain("What was drawn from", remedy))
    elif khat is not None and khat > khat_threshold(int(np.prod(size))):
        problems.append(explain_khat("What was drawn from", khat, int(np.prod(size)), remedy))
    if count < _SMALLEST_ESS_PER_CHAIN:
        problems.append(
            f"The draws are worth only {count:.0f} independent ones (wanted: {_SMALLEST_ESS_PER_CHAIN}). "
            "Draw more, for example draws=4000."
        )
    return Diagnostics(
        rhat_max=math.nan,
        ess_bulk_min=count,
        ess_tail_min=count,
        divergences=0,
        acceptance_rate=math.nan,
        khat=khat,
        worst="",
        problems=tuple(problems),
    )


def _off_by_weights(scalars: Mapping[str, np.ndarray], weights: Weights) -> Iterator[str]:
    """Where a guide's own draws are far from their weighted means and standard deviations."""
    share = np.exp(weights.smoothed)
    noise = 3 / math.sqrt(weights.ess)  # of the weighted mean, in standard deviations
    off: dict[str, float] = {}
    for name, values in scalars.items():
        flat = values.ravel()
        mean = share @ flat
        sd = math.sqrt(share @ np.square(flat - mean))
        shift, stretch = abs(flat.mean() - mean) / sd, abs(math.log(flat.std() / sd))
        if shift > _LARGEST_SHIFT + noise:
            off[f"the mean of {name} by {shift:.1f} sd"] = shift / _LARGEST_SHIFT
        if stretch > _LARGEST_STRETCH + noise:
            off[f"the sd of {name} by {abs(flat.std() / sd - 1):.0%}"] = stretch / _LARGEST_STRETCH
    if off:
        worst = sorted(off, key=lambda words: off[words])[-3:]
        yield (
            f"The draws are off, by their importance weights: {', '.join(reversed(worst))}. "
            "Take post.corrected(), or a richer guide."
        )


def scalars_of(draws: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Each entry of each site as ``(chain, draw)``; entries that never change say nothing."""
    for name, values in draws.items():
        flat = values.reshape(*values.shape[:2], -1)  # (chain, draw, entry)
        for entry in range(flat.shape[2]):
            index = np.unravel_index(entry, values.shape[2:]) if values.ndim > 2 else ()
            label = name + (f"[{', '.join(str(int(i)) for i in index)}]" if index else "")
            if np.ptp(flat[..., entry]) > 0 or flat.shape[2] == 1:
                yield label, flat[..., entry]


def _stuck_chains(scalars: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A chain whose log density hardly ever changes has stopped moving."""
    log_density = scalars["log density"]
    for chain, values in enumerate(log_density):
        moved = np.count_nonzero(np.diff(values)) / max(1, len(values) - 1)
        if moved < 0.1:
            yield (
                f"Chain {chain} is stuck: it moved in {moved:.0%} of its draws, and must not be used. "
                "Rescale the parameters to the order of 1, or lengthen the warm-up (tune=2000)."
            )


def drifting_sites(density: Density, positions: np.ndarray) -> Iterator[str]:
    """Sites whose chains have left every scale, each on a way of its own: nothing holds them there.

    Args:
        density: the program's.
        positions: ``(chain, draw, dim)``, in unconstrained space.
    """
    far = np.abs(positions).max(1) > _FAR  # (chain, dim)
    for part in density.latents:
        chains = [int(chain) for chain in np.flatnonzero(far[:, part.start : part.stop].any(1))]
        entries = [k for k in range(part.start, part.stop) if far[:, k].any()]
        if any(not rhat(positions[..., k]) < _DRIFTING_RHAT for k in entries):
            largest = np.abs(positions[..., entries]).max()
            yield (
                f"The chains drift away in site {part.name!r} (chains {', '.join(map(str, chains))}; up to "
                f"{largest:.0e} in unconstrained space): the posterior is improper there, or nearly so. Give "
                f"{part.name!r} a proper prior, or take it out of the program if the data leave it open."
            )


def _disagreement(numbers: Diagnostics, worst: np.ndarray, log_density: np.ndarray) -> Iterator[str]:
    if numbers.rhat_max <= _LARGEST_RHAT:
        return
    left_out = _odd_chain_out(worst)
    if left_out is not None:
        chain, without = left_out
        others = np.delete(log_density, chain, axis=0).mean()
        yield (
            f"Chain {chain} has not found what the others agree on (R-hat of {numbers.worst} is "
            f"{numbers.rhat_max:.2f}, without it {without:.2f}): its mean log "
            f"density is {log_density[chain].mean():.1f}, theirs {others:.1f}. It may be stuck, or in a mode "
            "of its own: run more chains to see, lengthen the warm-up (tune=2000), or reparametrise."
        )
        return
    yield (
        f"The chains do not agree: R-hat of {numbers.worst} is {numbers.rhat_max:.3f}, more than "
        f"{_LARGEST_RHAT}. Run longer (tune=2000, draws=4000); if it stays, the posterior has "
        "several modes or a direction that the data leave open: look at the trace plot and reparametrise."
    )


def _odd_chain_out(values: np.ndarray) -> tuple[int, float] | None:
    """The one chain without which the others agree, and their R-hat; ``None`` where there is none."""
    if len(values) < 3 or not np.isfinite(values).all():
        return None
    without = [rhat(np.delete(values, chain, axis=0)) for chain in range(len(values))]
    best = int(np.argmin(without))
    agrees = without[best] < 1 + (rhat(values) - 1) / 4 and without[best] < 1.05
    return (best, without[best]) if agrees else None


def _few_draws(numbers: Diagnostics, chains: int) -> Iterator[str]:
    wanted = _SMALLEST_ESS_PER_CHAIN * chains
    smallest = min(numbers.ess_bulk_min, numbers.ess_tail_min)
    if not smallest >= wanted:
        yield (
            f"The draws are worth only {smallest:.0f} independent ones (wanted: {wanted}). "
            "Draw more, for example draws=4000."
        )


def _divergences(numbers: Diagnostics, draws: int) -> Iterator[str]:
    if numbers.divergences:
        yield (
            f"{numbers.divergences} of {draws} trajectories diverged: a region of high curvature may be "
            "missing from the draws. Take smaller steps (target_accept=0.99); if they stay, reparametrise, "
            "for example a hierarchy by its non-centred form."
        )


def _cut_trajectories(depths: np.ndarray, max_tree_depth: int) -> Iterator[str]:
    share = float((depths >= max_tree_depth).mean())
    if share > 0.01:
        yield (
            f"{share:.0%} of the trajectories were cut off at tree depth {max_tree_depth}: the sampler is "
            f"slow here, not wrong. Rescale the parameters, or write max_tree_depth={max_tree_depth + 2}."
        )


def _low_energy(energy: np.ndarray) -> Iterator[str]:
    spread = energy.var(axis=1)
    bfmi = np.square(np.diff(energy, axis=1)).mean(axis=1) / np.where(spread > 0, spread, np.inf)
    if bfmi.min() < _SMALLEST_BFMI and spread.min() > 0:
        yield (
            f"The energy changes too little between draws (BFMI {bfmi.min():.2f} in chain "
            f"{int(bfmi.argmin())}, wanted {_SMALLEST_BFMI}): heavy tails are explored slowly. "
            "Reparametrise, or take a lighter prior."
        )
