"""Stuck chains: detected early in the warm-up, and restarted.

A distant start can lead a chain to a side mode or a plateau with almost no posterior mass, which it leaves
late or never. The mass of a region is estimated roughly from the chain's own draws, as the mass of a
Gaussian with independent entries: on nine posteriors the counts of chains that have arrived differ by
less than 2 nats after 250 steps, whatever their region's shape, and a lost one's by 35 and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ppgen.errors import InferenceError
from ppgen.inference.markov.chains import Chains, Record
from ppgen.inference.markov.sampling import Sampling

__all__ = ["judge", "looking_points", "restart_lost", "was_lost"]

_ATTEMPTS = 3
# Fewer steps say too little of a chain's spread.
_FEWEST_STEPS = 40
# A chain is on its way if its count rises by this share of the gap from a quarter of its steps to the next.
_RISING = 0.25


class Judgement(NamedTuple):
    """The verdict on each chain.

    Attributes:
        arrived: ``(chain,)``, whether its region holds about as much as the best one.
        lost: ``(chain,)``, whether it holds almost none of that and the chain is not moving up.
    """

    arrived: np.ndarray
    lost: np.ndarray


def looking_points(tune: int) -> list[int]:
    """After how many steps of the warm-up chains are judged: a twelfth, and a quarter.

    Example:
        >>> looking_points(1000), looking_points(200), looking_points(100)
        ([83, 250], [50], [])
    """
    return [steps for steps in (tune // 12, tune // 4) if steps >= _FEWEST_STEPS]


def restart_lost(sampling: Sampling, begin_again: Callable[[int], Chains]) -> None:
    """Replace the chains that are lost by new ones that are not.

    The new ones have their own starts and do not depend on the others, so that a mode that is found
    repeatedly is kept, and R-hat still detects it. A chain for which no new one is better stays.

    Args:
        sampling: chains at one of the :func:`looking_points`.
        begin_again: makes as many chains at other starts, by the number of the attempt.
    """
    steps = sampling.chains.done
    own = sampling.draws(0)
    if len(own.lp) == 1:
        return
    for attempt in range(_ATTEMPTS):
        if not judge(own).lost.any():
            return
        try:
            rivals = sampling.rival(begin_again(attempt))
        except InferenceError:  # no finite start, this time
            continue
        rivals.until(steps)
        fresh = rivals.draws(0)
        both = judge(Record(*(np.concatenate(pair) for pair in zip(own, fresh, strict=True))))
        lost = np.flatnonzero(both.lost[: len(own.lp)])
        found = np.flatnonzero(both.arrived[len(own.lp) :])
        count = min(len(lost), len(found))
        sampling.adopt(lost[:count], rivals, found[:count])
        own = sampling.draws(0)


def was_lost(record: Record, tune: int) -> bool:
    """Whether some chain was lost at one of the :func:`looking_points`; a chain alone never is."""
    return len(record.lp) > 1 and any(
        judge(record.part(0, steps)).lost.any() for steps in looking_points(tune)
    )


def judge(record: Record) -> Judgement:
    r"""Compare the chains' regions with the best one, by the second half of their steps.

    .. math:: \log m_c = \overline{\log \pi(z)} + \textstyle\sum_j \log \mathrm{sd}(z_j)

    A chain is lost if this is lower than the best chain's by more than :math:`10 + 3 \sqrt{d}` nats: its
    region then holds less than e⁻¹⁰ of the other, and the rest is for the noise of d standard deviations.

    Args:
        record: of two chains or more.
    """
    third, fourth = (_log_mass(record, quarter) for quarter in (2, 3))
    gap = fourth.max() - fourth
    near = gap <= 10 + 3 * math.sqrt(record.position.shape[2])
    rising = fourth - third > _RISING * gap
    return Judgement(near, ~near & ~rising)


def _log_mass(record: Record, quarter: int) -> np.ndarray:
    steps = record.lp.shape[1]
    part = slice(steps * quarter // 4, steps * (quarter + 1) // 4)
    spread = np.maximum(record.position[:, part].std(1), 1e-300)  # 0 where a chain is stuck
    return record.lp[:, part].mean(1) + np.log(spread).sum(1)
