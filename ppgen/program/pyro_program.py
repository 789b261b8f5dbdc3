"""The sites of a Pyro program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro import poutine

from ppgen.errors import PpgenError, ProgramError
from ppgen.program.arguments import is_array
from ppgen.program.family import Program
from ppgen.program.sites import Plate, Role, Site, check_log_prob_shape

__all__ = ["pyro_sites"]


def pyro_sites(program: Program, data: Mapping[str, Any]) -> tuple[Site, ...]:
    """The sites of a Pyro program on this data, each with its shapes checked.

    The program is run once, forward, with a random state and a parameter store of its own.

    Raises:
        ProgramError: if the program fails on this data, or a site's parameters and value broadcast.
    """
    arguments = {name: torch.as_tensor(value) if is_array(value) else value for name, value in data.items()}
    with torch.random.fork_rng(devices=[]), pyro.get_param_store().scope():
        pyro.set_rng_seed(0)
        try:
            messages = poutine.trace(program).get_trace(**arguments).nodes.values()
            return tuple(site for message in messages if (site := _site(message)) is not None)
        except PpgenError:
            raise
        except Exception as error:
            raise ProgramError(
                "program",
                got=f"{type(error).__name__} when it was run on the data: {str(error).splitlines()[0]}",
                expected="a Pyro program that runs on the given data",
                fix="The traceback above this one shows the line. Call program(**data) to try it alone.",
            ) from error


def _site(message: Any) -> Site | None:
    """A trace message as a site, or ``None`` for parameters and plates."""
    if message["type"] != "sample" or poutine.util.site_is_subsample(message):
        return None
    name, distribution, value = message["name"], message["fn"], message["value"]
    if message["infer"].get("_deterministic", False):
        return Site(name, "deterministic", "", tuple(value.shape))
    base = _base(distribution)
    role: Role = "observed" if message["is_observed"] else "latent"
    if isinstance(base, pyro.distributions.Unit):
        role = "factor"
    shape = tuple(value.shape)
    event_dim = len(distribution.event_shape)
    if role != "factor":
        check_log_prob_shape(name, tuple(distribution.log_prob(value).shape), shape, event_dim)
    return Site(
        name,
        role,
        type(base).__name__,
        shape,
        event_dim,
        type(base.support).__name__.strip("_").lower(),
        tuple(Plate(f.name, f.dim, f.size) for f in message["cond_indep_stack"] if f.vectorized),
        bool(base.support.is_discrete),
    )


def _base(distribution: Any) -> Any:
    """The distribution under the wrappers that masks and ``to_event`` put around it."""
    while hasattr(distribution, "base_dist") and not hasattr(distribution, "transforms"):
        distribution = distribution.base_dist
    return distribution
