"""NumPyro's scan, run as a Python loop: so that each step's discrete latents are variables of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro import handlers
from numpyro.contrib.control_flow.scan import _subs_wrapper, scan_wrapper
from numpyro.ops.pytree import PytreeTrace

from ppgen.program.languages.numpyro.statements import STEP
from ppgen.program.languages.statement import step_name

__all__ = ["UnrollScans"]


class UnrollScans(numpyro.primitives.Messenger):
    """Runs a program with its scans unrolled."""

    def process_message(self, msg: Any) -> None:
        """Put the loop in the scan's place."""
        if msg["type"] == "control_flow" and msg["fn"] is scan_wrapper:
            msg["fn"] = _unrolled_scan


def _unrolled_scan(
    function: Callable[..., Any],
    carry: Any,
    xs: Any,
    length: int | None,
    reverse: bool,
    rng_key: Any = None,
    substitute_stack: Any = (),
    **_: Any,
) -> Any:
    """What numpyro's ``scan_wrapper`` does, with the messages of each step under names of their own."""
    length = len(jax.tree.leaves(xs)[0]) if length is None else length
    messages: dict[str, Any] = {}
    outputs: list[Any] = []
    for step in range(length):
        at = length - 1 - step if reverse else step
        run = handlers.infer_config(function, config_fn=lambda _, step=step: {"_scan_current_index": step})
        for kind, values in substitute_stack:
            place = partial(_subs_wrapper, values, step, length)
            fixing = {"condition": {"condition_fn": place}, "substitute": {"substitute_fn": place}}
            run = getattr(handlers, kind)(run, **fixing[kind])
        with handlers.block(), handlers.trace() as trace:
            carry, output = run(carry, jax.tree.map(lambda x, at=at: x[at], xs))
        outputs.insert(0, output) if reverse else outputs.append(output)
        for name, message in trace.items():
            seen = {key: value for key, value in message.items() if key != "stop"}
            renamed = {"name": step_name(name, step), STEP: (name, step), "_control_flow_done": True}
            messages[step_name(name, step)] = seen | renamed
    together = jax.tree.map(lambda *parts: jnp.stack(jnp.broadcast_arrays(*parts)), *outputs)
    return (length, rng_key, carry), (PytreeTrace(messages), together)
