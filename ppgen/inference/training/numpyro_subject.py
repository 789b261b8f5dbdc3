"""What JAX objectives are read off: a family, or a NumPyro program, with trial parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import biject_to, constraints

from ppgen.errors import ProgramError, TrainingError
from ppgen.inference.training.objectives import Batch
from ppgen.program import numpyro_bounds as bounds
from ppgen.program.family import Program

__all__ = ["FamilySubject", "NumPyroSubject", "read_program"]


class _Subject(ABC):
    """The bounds that objectives ask for, of a model and a guide with trial parameters."""

    @abstractmethod
    def programs(self) -> tuple[Program, Program | None]:
        """The model, and the guide if there is one, with the trial parameters in them."""

    def log_density(self, batch: Batch) -> jax.Array:
        """The log density of each row ``(n,)``, without its constant where the program has none."""
        model, _ = self.programs()
        return bounds.log_density(model, batch.key, batch.x, label=batch.label)

    def elbo(self, batch: Batch, samples: int) -> jax.Array:
        """The evidence lower bound of each row ``(n,)``."""
        return bounds.elbo(*self._pair(), batch.key, batch.x, samples, label=batch.label)

    def importance_weighted(self, batch: Batch, samples: int) -> jax.Array:
        """The importance-weighted bound of each row ``(n,)``."""
        return bounds.importance_weighted(*self._pair(), batch.key, batch.x, samples, label=batch.label)

    def renyi(self, batch: Batch, samples: int, alpha: float) -> jax.Array:
        """Rényi's bound of each row ``(n,)``."""
        return bounds.renyi(*self._pair(), batch.key, batch.x, samples, alpha, label=batch.label)

    def wake_sleep(self, batch: Batch, samples: int) -> jax.Array:
        """The importance-weighted bound of each row ``(n,)``, with the gradients of wake-sleep."""
        return bounds.wake_sleep(*self._pair(), batch.key, batch.x, samples, label=batch.label)

    def _pair(self) -> tuple[Program, Program]:
        model, guide = self.programs()
        if guide is None:
            raise TrainingError(
                "objective",
                got="a bound, for a program without a guide",
                expected="a guide",
                fix="Write guide=...",
            )
        return model, guide


@dataclass(frozen=True, eq=False)
class NumPyroSubject(_Subject):
    """What the objectives ask of a NumPyro program and its guide.

    Attributes:
        model: a program whose first argument is the minibatch, and whose ``label`` is its classes.
        guide: of the same arguments, with a site for each latent one of the program.
        parameters: unconstrained, by their names in the program.
        constrain: takes them to what the program declares.
    """

    model: Program
    guide: Program | None
    parameters: Any
    constrain: Callable[[Any], Mapping[str, Any]]

    def with_parameters(self, parameters: Any) -> NumPyroSubject:
        """The same subject with other parameters."""
        return replace(self, parameters=parameters)

    def programs(self) -> tuple[Program, Program | None]:
        """The model, and the guide if there is one, with the trial parameters in them."""
        values = dict(self.constrain(self.parameters))
        model = handlers.substitute(self.model, data=values)
        return model, None if self.guide is None else handlers.substitute(self.guide, data=values)


@dataclass(frozen=True, eq=False)
class FamilySubject(_Subject):
    """A NumPyro family with trial values for the arrays of its network.

    Objectives reach the family itself through :attr:`family`: its energy, its score, its velocity.

    Attributes:
        family: a copy whose ``network`` holds the trial values.
        parameters: the inexact arrays of the network.
    """

    family: Any
    parameters: Any

    @classmethod
    def of(cls, family: Any) -> FamilySubject:
        """The subject of a family as it is."""
        return cls(family, eqx.filter(family.network, eqx.is_inexact_array))

    def with_parameters(self, parameters: Any) -> FamilySubject:
        """The same subject with other parameters."""
        network = eqx.combine(parameters, self.family.network)
        return FamilySubject(self.family.with_network(network), parameters)

    def programs(self) -> tuple[Program, Program | None]:
        """The family's own model and guide."""
        return self.family.model, getattr(self.family, "guide", None)


def read_program(
    program: Program, guide: Program | None, x: np.ndarray, label: np.ndarray | None, seed: int
) -> NumPyroSubject:
    """Run a user's own program and guide once, and find their parameters.

    Raises:
        ProgramError: if it has latent sites and no guide, or a guide that does not match.
        TrainingError: if it declares no parameters.
    """
    rows = as_array(x)
    context = {} if label is None else {"label": jnp.asarray(label)}
    model_key, guide_key = jax.random.split(jax.random.key(seed))
    traced = handlers.trace(handlers.seed(program, model_key)).get_trace(rows, **context)
    guided = {}
    if guide is not None:
        guided = handlers.trace(handlers.seed(guide, guide_key)).get_trace(rows, **context)
    _check_sites(traced, guided, guide is not None)
    declared = {name: site for name, site in {**traced, **guided}.items() if site["type"] == "param"}
    if not declared:
        raise TrainingError(
            "program",
            got="no parameters",
            expected="at least one to learn",
            fix="Declare them: numpyro.param('w', jnp.zeros(3)), numpyro.contrib.module.eqx_module(...).",
        )
    bijections = {
        name: biject_to(site["kwargs"].get("constraint", constraints.real)) for name, site in declared.items()
    }

    def constrain(parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {name: jax.tree.map(bijections[name], value) for name, value in parameters.items()}

    start = {name: jax.tree.map(bijections[name].inv, site["value"]) for name, site in declared.items()}
    subject = NumPyroSubject(program, guide, start, constrain)
    batch = Batch(rows, context.get("label"), model_key)
    subject.log_density(batch) if guide is None else subject.elbo(batch, 1)  # refuses what is not one a row
    return subject


def as_array(rows: np.ndarray) -> jax.Array:
    """Rows as a program takes them: floats in single precision, integers as they are."""
    return jnp.asarray(rows, jnp.float32) if rows.dtype.kind == "f" else jnp.asarray(rows)


def _check_sites(traced: Mapping[str, Any], guided: Mapping[str, Any], has_guide: bool) -> None:
    wanted, given = _latent(traced), _latent(guided)
    if wanted and not has_guide:
        raise ProgramError(
            "guide",
            got=f"none, and a program with the latent sites {', '.join(map(repr, wanted))}",
            expected="a guide that samples them, given the minibatch",
            fix="Write guide=..., or ppgen.infer(program, data) for a posterior.",
        )
    for name in wanted:
        if name not in given:
            raise ProgramError(
                "guide",
                got=f"no site {name!r}",
                expected=f"a site for each latent site of the program: {', '.join(map(repr, wanted))}",
                fix=f"Write numpyro.sample({name!r}, ...) in the guide.",
            )
        if np.shape(traced[name]["value"]) != np.shape(guided[name]["value"]):
            raise ProgramError(
                f"site {name!r}",
                got=f"values of shape {np.shape(guided[name]['value'])} in the guide",
                expected=f"{np.shape(traced[name]['value'])}, as in the program",
                fix="Give both the same plates and the same .to_event(...).",
            )
    extra = [name for name in given if name not in wanted]
    if has_guide and extra:
        raise ProgramError(
            "guide",
            got=f"a site {extra[0]!r} that the program does not sample",
            expected=f"the latent sites of the program alone: {', '.join(map(repr, wanted))}",
            fix="Give it the name that it has in the program, or take it out of the guide.",
        )


def _latent(trace: Mapping[str, Any]) -> list[str]:
    return sorted(
        name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]
    )
