"""How many threads can run in parallel."""

from __future__ import annotations

import os

__all__ = ["available_cores", "concurrent_runs"]

# XLA shares the work of a LAPACK call among threads from about 100,000 on, batch times rows³.
_LARGEST_ALONE = 50_000


def available_cores() -> int:
    """The number of cores that this process may use, which on a shared machine can be fewer than it has.

    Example:
        >>> available_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def concurrent_runs(rows: int, batch: int) -> int:
    """How many compiled computations may run at once, one per core.

    One core is left free if they factor or solve matrices that are not small. XLA's LAPACK calls hand
    parts of their work to the threads that run the computations, one per core, and wait. If every thread
    waits, none is left to do the parts, which is a deadlock: with jaxlib 0.10.2 on two cores, two
    batches of two chains that solve 60×60 matrices never returned, nor did two of 32 chains with a dense
    metric of 24 dimensions.

    Args:
        rows: of the largest matrix, as ``Graph.largest_matrix`` says; 0 for none.
        batch: how many matrices of that size one computation treats at once.

    Example:
        >>> concurrent_runs(0, 1) == available_cores()
        True
        >>> concurrent_runs(100, 2) == max(1, available_cores() - 1)
        True
    """
    cores = available_cores()
    return max(1, cores - 1) if batch * rows**3 > _LARGEST_ALONE else cores
