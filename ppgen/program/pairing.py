"""Does a guide match its program: the same latent sites, with the same shapes?"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Distribution

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.program.bounds import log_weights
from ppgen.program.family import Program

__all__ = ["check_pair", "latent_sites"]


def check_pair(
    model: Program, guide: Program, x: Tensor, *, reparameterised: bool = True, **context: Any
) -> None:
    """Refuse a program and a guide that the ELBO cannot be written for.

    Both are run once on ``x`` in a parameter store of their own, so that nothing is left behind.

    Args:
        model, guide: Pyro programs whose first argument is the minibatch.
        x: a few rows ``(n, *shape)``.
        reparameterised: whether each site of the guide must have a gradient through its draws.
        context: further arguments of both, such as ``label``.

    Raises:
        ProgramError: if a latent site is in one of the two and not in the other, if its shapes differ,
            or if a site's log density is not one number a row.
        UnsupportedProgram: if the guide draws a site without a gradient, as discrete ones are.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("rows", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> check_pair(model, lambda x: None, torch.zeros(3))
        Traceback (most recent call last):
        ...
        ppgen.errors.ProgramError: guide: got no site 'z', expected ... in the guide.
    """
    with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]), torch.no_grad():
        wanted, given = latent_sites(model, x, **context), latent_sites(guide, x, **context)
        _check_names(set(wanted), set(given))
        for name, site in given.items():
            _check_shapes(name, wanted[name]["value"].shape, site["value"].shape)
            if reparameterised:
                _check_gradient(name, site["fn"])
        log_weights(model, guide, x, **context)


def latent_sites(program: Program, x: Tensor, **context: Any) -> dict[str, Any]:
    """What a program samples and does not observe, by name: Pyro's own record of each site."""
    trace = poutine.trace(program).get_trace(x, **context)
    return {name: trace.nodes[name] for name in trace.stochastic_nodes if not _is_subsample(trace, name)}


def _is_subsample(trace: poutine.Trace, name: str) -> bool:
    return poutine.util.site_is_subsample(trace.nodes[name])


def _check_names(wanted: set[str], given: set[str]) -> None:
    missing, extra = sorted(wanted - given), sorted(given - wanted)
    if missing:
        raise ProgramError(
            "guide",
            got=f"no site {_listed(missing)}",
            expected=f"a site for each latent site of the program: {_listed(sorted(wanted))}",
            fix=f"Write pyro.sample({missing[0]!r}, ...) in the guide.",
        )
    if extra:
        raise ProgramError(
            "guide",
            got=f"a site {_listed(extra)} that the program does not sample",
            expected=f"the latent sites of the program alone: {_listed(sorted(wanted))}",
            fix="Give it the name that it has in the program, or take it out of the guide.",
        )


def _check_shapes(name: str, wanted: torch.Size, given: torch.Size) -> None:
    if wanted != given:
        raise ProgramError(
            f"site {name!r}",
            got=f"values of shape {tuple(given)} in the guide",
            expected=f"{tuple(wanted)}, as in the program",
            fix="Give both the same plates and the same .to_event(...).",
        )


def _check_gradient(name: str, fn: Distribution) -> None:
    if not fn.has_rsample:
        fn = getattr(fn, "base_dist", fn)  # what .to_event(...) was written after
        raise UnsupportedProgram(
            f"site {name!r}",
            got=f"a guide that draws it from {type(fn).__name__}, which has no gradient through its draws",
            expected="a reparameterised distribution, such as Normal",
            fix='Train with objective="wake_sleep", which needs none, or sum the site out by hand.',
        )


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
