"""What the messages of NumPyro's handlers say of a statement."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Delta, Distribution, ExpandedDistribution, Unit, biject_to
from numpyro.distributions.distribution import Independent, MaskedDistribution

from ppgen.program.discrete.enumeration import all_combinations, not_finite
from ppgen.program.languages.statement import Bijection, Statement
from ppgen.program.sites import Plate, Role, no_bijection

__all__ = ["REDRAWN", "STEP", "NumPyroStatement", "base_of"]

REDRAWN = "ppgen_redrawn"
STEP = "ppgen_step"  # the site and the step that a message of an unrolled scan is of


class NumPyroStatement(Statement):
    """A message of a ``sample`` or ``deterministic`` statement."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.name = message["name"]
        self.step = message.get(STEP)
        self.plates = tuple(Plate(f.name, f.dim, f.size) for f in reversed(message["cond_indep_stack"]))
        if message["type"] == "deterministic":
            self.role = "deterministic"
            return
        fn, infer = message["fn"], message["infer"]
        base = base_of(fn)
        self.role = _role(message, base)
        self.distribution = type(base).__name__
        self.event_dim = fn.event_dim
        self.discrete, self.has_rsample = bool(fn.is_discrete), fn.has_rsample
        self.auxiliary = infer.get("is_auxiliary", False)
        self.support = "" if isinstance(base, Delta) else _support_name(fn)
        self.scale = message["scale"]
        self.index = infer.get("_scan_current_index")
        self.redrawn = infer.get(REDRAWN, False)

    @property
    def value(self) -> Any:
        return self.message["value"]

    @property
    def shape(self) -> tuple[int, ...]:
        if self.value is not None:
            return jnp.shape(self.value)
        return (*self.message["kwargs"].get("sample_shape", ()), *self.message["fn"].shape())

    def bijection(self) -> Bijection:
        try:
            return biject_to(self.message["fn"].support)
        except NotImplementedError:
            raise no_bijection(self.name, self.distribution, self.message["fn"].support, "numpyro") from None

    def log_prob(self) -> jax.Array:
        log_prob = self.message["fn"].log_prob(self.value)
        # NumPyro's distributions do not mask impossible observations unless they validate.
        return jnp.where(self.possible(), log_prob, -jnp.inf) if self.role == "observed" else log_prob

    def log_prob_shape(self) -> tuple[int, ...]:
        return tuple(jax.eval_shape(self.message["fn"].log_prob, self.value).shape)

    def possible(self) -> jax.Array:
        fn = self.message["fn"]
        possible = jnp.asarray(fn.support(self.value))
        return possible | ~jnp.asarray(fn._mask) if isinstance(fn, MaskedDistribution) else possible

    def support_values(self) -> np.ndarray:
        fn, base = self.message["fn"], base_of(self.message["fn"])
        unlistable = not_finite(self.name, self.distribution)
        if not base.has_enumerate_support:
            raise unlistable
        try:
            with jax.ensure_compile_time_eval():
                values = np.asarray(base.enumerate_support(expand=False))
        except NotImplementedError:
            raise unlistable from None
        values = values.reshape(len(values), *base.event_shape)
        return all_combinations(values, fn.event_shape[: fn.event_dim - base.event_dim])


def base_of(distribution: Distribution) -> Distribution:
    """The distribution under the wrappers that plates, masks and ``to_event`` put around it."""
    while isinstance(distribution, (ExpandedDistribution, Independent, MaskedDistribution)):
        distribution = distribution.base_dist
    return distribution


def _role(message: Any, base: Distribution) -> Role:
    if isinstance(base, Unit):
        return "factor"
    return "observed" if message["is_observed"] else "latent"


def _support_name(distribution: Distribution) -> str:
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return type(support).__name__.strip("_").lower()
