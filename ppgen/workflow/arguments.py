"""The arguments that several tools of the workflow take: posteriors, and the name of an observed site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppgen.checks import check_choice
from ppgen.errors import DataError, InvalidArgument
from ppgen.inference.posterior import Posterior

__all__ = ["check_posterior", "check_posteriors", "check_same_data", "choose_site"]


def check_posterior(name: str, value: Any, fix: str) -> Posterior:
    """A posterior, and nothing else."""
    if not isinstance(value, Posterior):
        raise InvalidArgument(name, got=f"a {type(value).__name__}", expected="a ppgen.Posterior", fix=fix)
    return value


def check_posteriors(posts: Mapping[str, Posterior]) -> None:
    """Refuse what is not a mapping of two or more posteriors by name."""
    fix = 'Write {"a": ppgen.infer(a, data), "b": ppgen.infer(b, data)}.'
    if not isinstance(posts, Mapping) or len(posts) < 2:
        one = isinstance(posts, Mapping) and f"{len(posts)} model{'s' * (len(posts) != 1)}"
        raise InvalidArgument(
            "posts",
            got=one or f"a {type(posts).__name__}",
            expected="at least two posteriors by name",
            fix=fix,
        )
    for name, post in posts.items():
        check_posterior(f"posts[{name!r}]", post, fix)


def check_same_data(observed: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Refuse models of different data: their log densities are of different things.

    Args:
        observed: the observations by site, by model.

    Raises:
        DataError: naming the models, and the site where they differ.
    """
    (first, reference), *others = observed.items()
    for name, found in others:
        differ = [site for site in reference if not np.array_equal(found.get(site, ()), reference[site])]
        if set(found) == set(reference) and not differ:
            continue
        what = (
            f"observations of site {differ[0]!r}"
            if set(found) == set(reference)
            else (f"observed sites ({', '.join(sorted(reference))}; {', '.join(sorted(found))})")
        )
        raise DataError(
            "posts",
            got=f"different {what} in {first!r} and {name!r}",
            expected="the same observations in all models",
            fix="Fit all of them to the same observations, in the same unit, under the same site names.",
        )


def choose_site(site: str | None, sites: Sequence[str]) -> str:
    """The observed site of that name; the only one, if none is named.

    Raises:
        InvalidArgument: if none is named, and there is not just one.
        UnknownName: if there is none of that name.
    """
    if site is not None:
        return check_choice("site", site, sites)
    if len(sites) == 1:
        return sites[0]
    raise InvalidArgument(
        "site",
        got="None",
        expected=f"one of the observed sites {list(sites)}",
        fix=f"Write site={sites[0]!r}." if sites else "Observe something in the program.",
    )
