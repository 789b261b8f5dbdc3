"""Citations for a posterior: the papers of the methods that drew it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppgen.inference.posterior import Posterior

__all__ = ["cite", "papers"]


def cite(posterior: Posterior) -> str:
    """BibTeX for the methods and libraries that a posterior came from.

    Args:
        posterior: the result of ``ppgen.infer``.

    Returns:
        BibTeX entries, one per paper, as one string to print.

    Example:
        >>> import numpyro, numpyro.distributions as dist, ppgen
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = ppgen.infer(program, {"y": [1.0, 2.0]}, method="laplace", progress=False)
        >>> print(cite(post).splitlines()[0])
        @article{tierney1986,
    """
    keys = dict.fromkeys([*posterior.drawn.cites, posterior.density.engine, "diagnostics", "arviz"])
    return "\n\n".join(papers()[key] for key in keys)


@cache
def papers() -> dict[str, str]:
    """The entries of ``papers.bib``, each by the line that stands before it.

    Example:
        >>> papers()["nuts"].splitlines()[0]
        '@article{hoffman2014,'
    """
    _, *entries = files("ppgen.inference").joinpath("papers.bib").read_text("utf-8").strip().split("\n\n")
    return dict(entry.split("\n", 1) for entry in entries)
