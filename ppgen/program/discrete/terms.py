"""What a program says at one point, statement by statement; and how that is summed up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ppgen.errors import UnsupportedProgram
from ppgen.program.density import Evaluation
from ppgen.program.discrete.elimination import (
    Axis,
    Elimination,
    Factor,
    PlateAxis,
    Variable,
    add,
    aligned,
    connected,
    eliminate,
    sum_plates,
)
from ppgen.program.discrete.tables import Table

__all__ = [
    "Statements",
    "Terms",
    "eliminations",
    "factors_of",
    "plate_axes",
    "same_scale",
    "stack_steps",
    "sum_up",
]


class Terms(NamedTuple):
    """What a program says at one point, each entry by statement.

    Attributes:
        jacobian: the log Jacobian determinants of the latent sites, summed.
        values: the continuous latent sites in their own supports.
        deterministics: the deterministic sites.
        log_prob: the log density of each latent, observed and factor site, one entry a batch element; 0
            where it is masked, -inf for impossible observations.
        scale: what the log density of a site counts for, where it is not 1.
        observed: the observations themselves.
        possible: which observations lie in the support.
    """

    jacobian: Any
    values: dict[str, Any]
    deterministics: dict[str, Any]
    log_prob: dict[str, Any]
    scale: dict[str, Any]
    observed: dict[str, Any]
    possible: dict[str, Any]


class Statements(NamedTuple):
    """What is known of a program's statements, apart from numbers.

    A statement is a site, or one step of a site inside a scan, named ``site[step]``.

    Attributes:
        roles: ``"latent"``, ``"discrete"``, ``"observed"`` or ``"factor"``, in the order of the program.
        scales: what the log density of a statement counts for, as something that can be compared.
        steps: the site and the step of statements in a scan.
        variables: the discrete variables, by number.
    """

    roles: dict[str, str]
    scales: dict[str, Any]
    steps: dict[str, tuple[str, int]]
    variables: dict[int, Variable]


def sum_up(terms: Terms, known: Statements) -> Evaluation:
    """Add up the terms of a program, and sum its discrete variables out.

    Args:
        terms: each leaf a :class:`Table`.
        known: what the statements are.

    Raises:
        UnsupportedProgram: if the discrete variables cannot be marginalised, or if the support of a
            continuous site, an observation or a scale depends on them.
    """
    _check_free(terms)
    factors = factors_of(terms, known)
    log_joint = log_base = terms.jacobian.array
    log_prior: dict[str, jax.Array] = {}
    log_likelihood: dict[str, jax.Array] = {}
    for group in connected(list(factors.values())):
        names = [list(factors)[i] for i in group]
        roles = {name: known.roles[name] for name in names}
        if any(factors[name].variables for name in names):
            posterior = eliminate([factors[name] for name in names], known.variables).total
            prior, marginals = _prior(names, factors, terms, known)
            log_prior.update(marginals)
            log_base = sum((jnp.sum(value) for value in marginals.values()), log_base)
            observed = [name for name in names if roles[name] == "observed"]
            if observed:
                likelihood = _subtract(posterior, prior)
                log_likelihood.update(_named(likelihood, observed, terms, known))
            log_joint = log_joint + _common_scale(names, terms, known) * jnp.sum(posterior.table)
            continue
        (name,) = names
        log_prob, role = terms.log_prob[name].array, roles[name]
        if role == "latent":
            log_prior[name] = log_prob
            log_base = log_base + jnp.sum(log_prob)
        elif role == "observed":
            log_likelihood[name] = log_prob
        scale = terms.scale[name].array if name in terms.scale else 1.0
        log_joint = log_joint + jnp.sum(scale * log_prob)
    return Evaluation(
        log_joint,
        log_base,
        stack_steps({name: table.array for name, table in terms.values.items()}, known),
        stack_steps({k: t.array for k, t in terms.deterministics.items() if not t.variables}, known),
        stack_steps(log_prior, known),
        stack_steps(log_likelihood, known),
        stack_steps({name: table.array for name, table in terms.observed.items()}, known),
        _all_possible(terms, known),
    )


def eliminations(terms: Terms, known: Statements, *, given_data: bool = True) -> list[Elimination]:
    """The eliminations of all discrete variables from what the program says.

    Args:
        terms: each leaf a :class:`Table`.
        known: what the statements are.
        given_data: count the observed and factor sites in, too, and not the priors alone.
    """
    factors = [
        factor
        for name, factor in factors_of(terms, known).items()
        if given_data or known.roles[name] in ("latent", "discrete")
    ]
    groups = [[factors[i] for i in group] for group in connected(factors)]
    return [
        eliminate(group, known.variables) for group in groups if any(factor.variables for factor in group)
    ]


def plate_axes(shape: Sequence[int]) -> tuple[PlateAxis, ...]:
    """The plates of a batch shape: its dimensions that are longer than 1.

    Example:
        >>> plate_axes((3, 1, 5))
        (PlateAxis(dim=-3, size=3), PlateAxis(dim=-1, size=5))
    """
    return tuple(PlateAxis(i - len(shape), size) for i, size in enumerate(shape) if size > 1)


def same_scale(scale: Any) -> Any:
    """A scale as something that can be compared: its number, or its identity where there is none yet.

    Example:
        >>> same_scale(2), same_scale(jnp.array(2.0))
        (2.0, 2.0)
    """
    try:
        return float(scale)
    except (TypeError, UnsupportedProgram):  # an array, or one that is only being traced
        return id(scale)


# -- factors -------------------------------------------------------------------------------------------


def factors_of(terms: Terms, known: Statements) -> dict[str, Factor]:
    """The log density of each statement as a factor over its discrete variables and its plates."""
    # The program's own order: JAX hands dicts on in alphabetical order.
    return {name: _factor(terms.log_prob[name], known.variables) for name in known.roles}


def _factor(table: Table, variables: Mapping[int, Variable]) -> Factor:
    batch = _batch_shape(table)
    axes: tuple[Axis, ...] = (*table.variables, *plate_axes(batch))
    sizes = [variables[v].size for v in table.variables]
    factor = Factor(axes, jnp.reshape(table.array, [*sizes, *(size for size in batch if size > 1)]))
    missing = sorted(frozenset().union(*(variables[v].plates for v in table.variables)) - factor.plates)
    if not missing:
        return factor
    # A statement outside of the plate of its variable counts once for each of the variable's elements.
    return add([factor, Factor(tuple(missing), jnp.zeros([plate.size for plate in missing]))])


def _prior(
    names: list[str], factors: Mapping[str, Factor], terms: Terms, known: Statements
) -> tuple[list[Factor], dict[str, jax.Array]]:
    """The marginal prior of the continuous sites among these statements, as factors and by name."""
    chosen = [name for name in names if known.roles[name] in ("latent", "discrete")]
    marginals: list[Factor] = []
    by_name: dict[str, jax.Array] = {}
    for group in connected([factors[name] for name in chosen]):
        members = [chosen[i] for i in group]
        continuous = [name for name in members if known.roles[name] == "latent"]
        if not continuous:
            continue  # the priors of discrete sites alone sum to 1
        total = eliminate([factors[name] for name in members], known.variables).total
        marginals.append(total)
        by_name.update(_named(total, continuous, terms, known))
    return marginals, by_name


def _subtract(posterior: Factor, priors: Iterable[Factor]) -> Factor:
    """The log likelihood, from the log of prior times likelihood."""
    for prior in priors:
        less = sum_plates(prior, posterior.plates)
        posterior = add([posterior, Factor(less.axes, -less.table)])
    return posterior


def _named(total: Factor, names: list[str], terms: Terms, known: Statements) -> dict[str, jax.Array]:
    """A marginal, under the name of its site if there is one with an entry for each of its own."""
    shape = _batch_shape(terms.log_prob[names[0]])
    if len(names) == 1 and total.plates == set(plate_axes(shape)):
        return {names[0]: jnp.reshape(aligned(total, plate_axes(shape)), shape)}
    sites = list(dict.fromkeys(known.steps[name][0] if name in known.steps else name for name in names))
    listed = "+".join(sites) if len(sites) < 4 else f"{sites[0]}+…+{sites[-1]}"
    return {f"{listed}_marginal": aligned(total, sorted(total.plates))}


def _common_scale(names: list[str], terms: Terms, known: Statements) -> Any:
    """What statements that discrete variables tie together count for; it must be one number for all."""
    scales = [terms.scale[name].array for name in names if name in terms.scale]
    if len({known.scales.get(name, 1.0) for name in names}) > 1 or any(jnp.ndim(s) for s in scales):
        raise UnsupportedProgram(
            f"sites {', '.join(repr(name) for name in names[:4])}",
            got="different scales on sites that share a discrete latent",
            expected="one number that scales the discrete latent and all that depends on it",
            fix="Put the discrete latent inside the same scale as what depends on it.",
        )
    return scales[0] if scales else 1.0


def _batch_shape(table: Table) -> tuple[int, ...]:
    return tuple(table.array.shape[len(table.variables) :])


def _check_free(terms: Terms) -> None:
    """Refuse what must not depend on a discrete variable."""
    for what, tables in (("support", terms.values), ("observation", terms.observed), ("scale", terms.scale)):
        for name, table in tables.items():
            if table.variables:
                raise UnsupportedProgram(
                    f"site {name!r}",
                    got=f"a {what} that depends on a discrete latent",
                    expected="discrete latents in the parameters of distributions only",
                    fix=f"Give the site one {what} for all values of the discrete latent.",
                )


# -- steps of a scan -----------------------------------------------------------------------------------


def stack_steps(values: Mapping[str, jax.Array], known: Statements) -> dict[str, jax.Array]:
    """The steps of each scanned site put together again."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        site, step = known.steps.get(name, (name, 0))
        if name in known.steps:
            result.setdefault(site, []).append((step, value))
        else:
            result[name] = jnp.asarray(value)
    return {
        name: jnp.stack([part for _, part in sorted(value, key=lambda pair: pair[0])])
        if isinstance(value, list)
        else value
        for name, value in result.items()
    }


def _all_possible(terms: Terms, known: Statements) -> dict[str, jax.Array]:
    """Whether each observation of a site is possible under some values of the discrete latents."""
    result: dict[str, jax.Array] = {}
    for name, table in terms.possible.items():
        site = known.steps[name][0] if name in known.steps else name
        possible = jnp.all(jnp.any(table.array, tuple(range(len(table.variables)))))
        result[site] = result[site] & possible if site in result else possible
    return result
