"""Special functions: gamma, error and Bessel functions, and logarithms that are safe at 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.scipy import special as sp

__all__ = ["TABLE"]


def _floating(function: Callable[..., Any]) -> Callable[..., Any]:
    """JAX has no gradient for these where the first argument is a count."""
    return lambda x, y: function(1.0 * x, y)


def _entropy(x: Any) -> Any:
    """-x log x, and 0 at 0."""
    return -sp.xlogy(x, x)


TABLE: dict[str, Callable[..., Any]] = {
    "lgamma": sp.gammaln,
    "digamma": sp.digamma,
    "polygamma": sp.polygamma,
    "igamma": sp.gammainc,
    "igammac": sp.gammaincc,
    "special_zeta": sp.zeta,
    "erf": sp.erf,
    "erfc": sp.erfc,
    "erfinv": sp.erfinv,
    "special_ndtri": sp.ndtri,
    "special_log_ndtr": sp.log_ndtr,
    "i0": sp.i0,
    "special_i0e": sp.i0e,
    "special_i1": sp.i1,
    "special_i1e": sp.i1e,
    "special_modified_bessel_i0": sp.i0,
    "special_modified_bessel_i1": sp.i1,
    "xlogy": _floating(sp.xlogy),
    "special_xlog1py": _floating(sp.xlog1py),
    "special_entr": _entropy,
    "sigmoid": jax.nn.sigmoid,
}
