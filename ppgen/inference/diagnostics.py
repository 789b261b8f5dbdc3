"""Whether draws can be trusted: the numbers, and in words what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ppgen.inference.arviz_compat import ess_bulk, ess_tail, rhat

__all__ = ["Diagnostics", "diagnose_chains"]

_LARGEST_RHAT = 1.01
_SMALLEST_ESS_PER_CHAIN = 100
_SMALLEST_BFMI = 0.3


@dataclass(frozen=True)
class Diagnostics:
    """What the draws say about themselves.

    Attributes:
        rhat_max: the largest rank-normalised split R-hat; 1 when the chains agree.
        ess_bulk_min, ess_tail_min: the smallest effective sample sizes, in the bulk and the tails.
        divergences: how many trajectories left the typical set after warm-up.
        acceptance_rate: the mean over all draws.
        khat: the Pareto shape of the importance weights, for methods that have them.
        worst: the quantity with the largest R-hat.
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
        numbers = (
            f"R-hat at most {self.rhat_max:.3f} ({self.worst}), ESS at least {self.ess_bulk_min:.0f} (bulk) "
            f"and {self.ess_tail_min:.0f} (tail), {self.divergences} divergences, "
            f"acceptance rate {self.acceptance_rate:.2f}"
        )
        return "\n".join([numbers, *(f"- {problem}" for problem in self.problems or ("No problems found.",))])


def diagnose_chains(
    draws: Mapping[str, np.ndarray], stats: Mapping[str, np.ndarray], *, max_tree_depth: int
) -> Diagnostics:
    """Diagnose the draws of Markov chains.

    R-hat, bulk and tail effective sample size as in Vehtari, Gelman, Simpson, Carpenter and Bürkner
    (2021, arXiv:1903.08008), for every entry of every site and for the log density; the energy
    fraction of missing information as in Betancourt (2016, arXiv:1604.00695).

    Args:
        draws: the latent sites, ``(chain, draw, *event)``.
        stats: the sampler's statistics, ``(chain, draw)``, under ArviZ's names.
        max_tree_depth: the depth at which trajectories were cut off.

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
    scalars = dict(_scalars({**draws, "log density": stats["lp"]}))
    rhats = {name: rhat(values) for name, values in scalars.items()}
    bulk = {name: ess_bulk(values) for name, values in scalars.items()}
    tail = {name: ess_tail(values) for name, values in scalars.items()}
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
        *_stuck_chains(scalars),
        *_disagreement(numbers, scalars[worst], stats["lp"]),
        *_few_draws(numbers, chains=len(stats["lp"])),
        *_divergences(numbers, draws=stats["diverging"].size),
        *_cut_trajectories(stats["tree_depth"], max_tree_depth),
        *_low_energy(stats["energy"]),
    ]
    return Diagnostics(**{**vars(numbers), "problems": tuple(problems)})


def _scalars(draws: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
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
    if len(values) < 3:
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
            "missing from the draws. Take smaller steps (target_accept=0.95); if they stay, reparametrise, "
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
