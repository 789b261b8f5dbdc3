"""Fitting with scikit-learn: on one thread, and without convergence warnings."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

__all__ = ["quiet_fits"]


@contextlib.contextmanager
def quiet_fits() -> Iterator[None]:
    """Fit on one thread, and without "did not converge" warnings.

    The matrices are so small that threads wait for each other more than they compute; and held-out examples
    judge every fit, converged or not.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
