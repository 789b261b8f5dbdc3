"""Runs of Pyro programs by their own messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro import poutine
from torch.distributions import Transform

from ppgen.program.family import Program
from ppgen.program.languages.pyro import LANGUAGE, _Placed
from ppgen.program.languages.pyro.session import own_state
from ppgen.program.languages.pyro.statements import PyroStatement, base_of, role_of, support_of

__all__ = ["base_of", "bijection_of", "own_state", "role_of", "run_program", "support_of", "to_tensors"]

to_tensors = LANGUAGE.arguments


def run_program(
    program: Program, data: Mapping[str, Any], place: Callable[[Any], torch.Tensor | None]
) -> dict[str, Any]:
    """Run a program with its latent sites placed, and give back the messages of its sample statements."""
    with poutine.trace() as tracer, _Placed(lambda s: place(s.message), False):  # type: ignore[attr-defined]
        program(**data)
    return {
        name: message
        for name, message in tracer.trace.nodes.items()
        if message["type"] == "sample" and not poutine.util.site_is_subsample(message)
    }


def bijection_of(message: Any) -> Transform:
    """From unconstrained space to the support of a latent site."""
    return PyroStatement(message).bijection()  # type: ignore[return-value]
