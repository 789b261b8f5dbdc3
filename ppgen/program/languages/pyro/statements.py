"""What the messages of Pyro's handlers say of a statement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from pyro import distributions as dist
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution

from ppgen.program.discrete.enumeration import all_combinations, not_finite
from ppgen.program.languages.pyro.bijections import find_bijection
from ppgen.program.languages.statement import Bijection, Statement
from ppgen.program.sites import Plate, Role, no_bijection

__all__ = ["REDRAWN", "PyroStatement", "base_of", "role_of", "support_of"]

REDRAWN = "ppgen_redrawn"


class PyroStatement(Statement):
    """A message of a ``sample`` statement, which is how Pyro writes deterministic ones and factors, too."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.name, self.role = message["name"], role_of(message)
        self.plates = tuple(Plate(f.name, f.dim, f.size) for f in message["cond_indep_stack"] if f.vectorized)
        if self.role == "deterministic":
            return
        fn, infer = message["fn"], message["infer"] or {}
        base, support = base_of(fn), support_of(fn)
        self.distribution = type(base).__name__
        self.event_dim = len(fn.event_shape)
        self.discrete = support is not constraints.dependent and bool(support.is_discrete)
        self.support = "" if isinstance(base, dist.Delta) else _support_name(support_of(base))
        self.scale = message["scale"]
        self.has_rsample, self.auxiliary = bool(fn.has_rsample), infer.get("is_auxiliary", False)
        self.redrawn = infer.get(REDRAWN, False)

    @property
    def value(self) -> Any:
        return self.message["value"]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.message["fn"].shape() if self.value is None else self.value.shape

    def bijection(self) -> Bijection:
        support = support_of(self.message["fn"])
        try:
            return find_bijection(support)
        except NotImplementedError:
            raise no_bijection(self.name, self.distribution, support, "pyro") from None

    def log_prob(self) -> torch.Tensor:
        mask = self.message["mask"]
        log_prob = self.message["fn"].log_prob(self.value)
        if mask is not None:
            log_prob = torch.where(torch.as_tensor(mask), log_prob, 0.0)
        return torch.where(self.possible(), log_prob, -torch.inf) if self.role == "observed" else log_prob

    def log_prob_shape(self) -> tuple[int, ...]:
        batch = self.shape[: len(self.shape) - self.event_dim]
        return tuple(np.broadcast_shapes(tuple(self.message["fn"].batch_shape), batch))

    def possible(self) -> torch.Tensor:
        fn = self.message["fn"]
        possible = support_of(fn).check(self.value)
        for mask in (self.message["mask"], fn._mask if isinstance(fn, MaskedDistribution) else None):
            if mask is not None:
                possible = possible | ~torch.as_tensor(mask)
        return possible

    def support_values(self) -> np.ndarray:
        fn, base = self.message["fn"], base_of(self.message["fn"])
        unlistable = not_finite(self.name, self.distribution)
        if not base.has_enumerate_support:
            raise unlistable
        try:
            values = base.enumerate_support(expand=False)
        except NotImplementedError:
            raise unlistable from None
        values = values.reshape(len(values), *base.event_shape).detach().cpu().numpy()
        return all_combinations(values, tuple(fn.event_shape[: fn.event_dim - base.event_dim]))


def role_of(message: Any) -> Role:
    """What a sample statement is for; an observed Delta is how Pyro writes a computed value."""
    base = base_of(message["fn"])
    if isinstance(base, dist.Unit):
        return "factor"
    if not message["is_observed"]:
        return "latent"
    return "deterministic" if isinstance(base, dist.Delta) else "observed"


def base_of(distribution: Any) -> Any:
    """The distribution under the wrappers that plates, masks and ``to_event`` put around it."""
    while isinstance(distribution, (dist.Independent, MaskedDistribution, ExpandedDistribution)):
        distribution = distribution.base_dist
    return distribution


def support_of(distribution: Any) -> Any:
    """Where a distribution has its mass; ``constraints.dependent`` where it does not say."""
    if isinstance(base_of(distribution), _CIRCULAR):
        return constraints.independent(_CIRCLE, len(distribution.event_shape))
    try:
        return distribution.support
    except NotImplementedError:
        return constraints.dependent


# Torch gives angles the whole real line, on which their density repeats for ever.
_CIRCULAR = (dist.VonMises, dist.SineBivariateVonMises, dist.SineSkewed)
_CIRCLE = constraints.interval(-math.pi, math.pi)


def _support_name(support: Any) -> str:
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return type(support).__name__.strip("_").lower()
