"""A guide in Pyro: recorded, its parameters and random numbers among the inputs of the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from pyro import poutine
from torch.utils import _pytree as pytree

from ppgen.errors import UnsupportedProgram
from ppgen.program.family import Program
from ppgen.program.languages.guide import GuideProgram, LoweredGuide
from ppgen.program.languages.statement import Place, RunOptions, Statement
from ppgen.program.lowering.recording import Recording, open_draws, record_loss

__all__ = ["PyroGuide"]


class PyroGuide(GuideProgram):
    """A guide with ``pyro.param`` and ``pyro.sample`` statements, or a ``PyroModule``.

    Parameters of a module are the user's, and the same afterwards.
    """

    def __init__(self, language: Any, guide: Program, data: Mapping[str, Any], seed: int) -> None:
        self.language, self.data, self.seed = language, data, seed
        self.guide = language.in_full(guide, {})
        with torch.no_grad():
            leaves, self.statements = self._start()
        flat = [leaf.detach().double().reshape(-1) for leaf in leaves]
        self.initial = torch.cat([*flat, torch.zeros(0, dtype=torch.float64)]).numpy().copy()

    def run(self, data: Mapping[str, Any], place: Place) -> list[Statement]:
        return self.language.run(self.guide, data, place, RunOptions(parameters=True))

    def lower(
        self,
        evaluate: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
        arrays: Mapping[str, np.ndarray],
        given: Mapping[str, Any],
    ) -> LoweredGuide:
        def function(*inputs: torch.Tensor) -> Any:
            values, placed = inputs[: len(arrays)], inputs[len(arrays) :]
            data = {**constants, **dict(zip(arrays, values, strict=True))}
            return evaluate(data, dict(zip(given, placed, strict=True)))

        with self.language.session():
            constants = self.language.arguments(self.data)
            inputs = [*map(self.language.array, arrays.values()), *given.values()]
            leaves, _ = self._start()
            recording = record_loss(function, *inputs, parameters=leaves)
            with _moved(leaves):
                _check_elsewhere(recording, function, inputs, leaves)
        if given and recording.noise:
            raise UnsupportedProgram(
                "guide",
                got="random numbers outside of a sample statement",
                expected="a density that is the same at every call, given what the guide samples",
                fix="Draw them with pyro.sample, or leave them out: dropout, for example.",
            )
        ends = np.cumsum([leaf.numel() for leaf in leaves])[:-1].tolist()

        def lowered(
            values: list[Any], parameters: jax.Array, key: jax.Array, given: Mapping[str, Any]
        ) -> Any:
            flat = zip(jnp.split(parameters, ends), leaves, strict=bool(leaves))
            parts = [part.reshape(leaf.shape) for part, leaf in flat]
            return recording.in_jax(*values, *given.values(), *parts, *recording.draw_noise(key))

        return lowered

    def _start(self) -> tuple[list[torch.Tensor], list[Statement]]:
        """Run the guide in the parameter store at hand: its unconstrained parameters, and its statements."""
        torch.manual_seed(self.seed)
        with poutine.trace(param_only=True) as capture:
            statements = self.run(self.language.arguments(self.data), lambda statement: None)
        values: list[Any] = [node["value"] for node in capture.trace.nodes.values()]
        leaves = [value.unconstrained() for value in values if hasattr(value, "unconstrained")]
        return list({id(leaf): leaf for leaf in leaves if leaf.requires_grad}.values()), statements


@contextmanager
def _moved(leaves: list[torch.Tensor]) -> Iterator[None]:
    """Parameters at another point."""
    before = [leaf.detach().clone() for leaf in leaves]
    try:
        with torch.no_grad():
            for leaf in leaves:
                leaf.add_(0.1 * torch.cos(torch.arange(leaf.numel(), dtype=leaf.dtype)).reshape(leaf.shape))
        yield
    finally:
        with torch.no_grad():
            for leaf, value in zip(leaves, before, strict=True):
                leaf.copy_(value)


def _check_elsewhere(
    recording: Recording,
    function: Callable[..., Any],
    inputs: list[torch.Tensor],
    leaves: list[torch.Tensor],
) -> None:
    """Compare guide and record at other parameters: a value that became a Python number stays frozen."""
    torch.manual_seed(1)
    drawn = record_loss(function, *inputs, parameters=leaves).drawn
    torch.manual_seed(1)
    with torch.no_grad(), open_draws():
        expected = function(*inputs)
        found = recording.in_torch(*inputs, *leaves, *drawn)
    pairs = zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True)
    if not all(torch.allclose(a, b, rtol=1e-6, atol=1e-6, equal_nan=True) for a, b in pairs):
        raise UnsupportedProgram(
            "guide",
            got="a guide that Python computes in part: its record is right at one point, wrong at another",
            expected="torch operations from parameters and random numbers to values and log densities",
            fix="Keep parameters and samples in tensors: no .numpy(), no .tolist().",
        )
