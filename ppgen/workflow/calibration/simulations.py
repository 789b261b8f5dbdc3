"""Truths and the data that a program makes of them, laid out so that one compiled fit can read them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import DataError, InvalidArgument, ProgramError, UnsupportedProgram
from ppgen.inference.batch import Batch, data_axes, make_batch
from ppgen.inference.pointwise import constrain_latents, flatten_draws, simulate_data
from ppgen.inference.posterior import Posterior
from ppgen.program.arguments import is_array, ways_to_trace
from ppgen.program.density import Density, Evaluation, float64
from ppgen.program.jaxprs.compiler import jit
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.read import read_density
from ppgen.program.sites import no_prior_draws

__all__ = ["Simulations", "evaluate_together", "simulate_from_posterior", "simulate_from_prior"]


@dataclass(frozen=True, eq=False)
class Simulations:
    """Simulated data sets of one program, with the truths behind them.

    Attributes:
        density: the posterior density; its graph reads the simulated data where ``varying`` says.
        truths: ``(simulation, dim)``, in unconstrained space.
        data: the simulated arguments of the program, ``(simulation, *shape)`` each.
        varying: by its place among ``density.inputs.arrays``, what takes that place in each simulation;
            empty where the program has to be read again for each data set.
        backend: how to read it then.
    """

    density: Density
    truths: np.ndarray
    data: Mapping[str, np.ndarray]
    varying: Mapping[int, np.ndarray]
    backend: str

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def batched(self) -> bool:
        """Whether one graph serves all data sets."""
        return bool(self.varying)

    def density_of(self, row: int) -> Density:
        """The posterior density of one simulation alone."""
        data = {**self.density.data, **{name: values[row] for name, values in self.data.items()}}
        if not self.batched:
            return read_density(self.density.program, data, engine=self.density.engine, backend=self.backend)
        with float64():
            own = {place: jnp.asarray(array[row]) for place, array in self.varying.items()}
        return replace(self.density, data=data, inputs=_with_arrays(self.density.inputs, own))

    def batch(self, rows: np.ndarray) -> Batch:
        """The posterior densities of some simulations, which one graph serves."""
        return make_batch([self.density_of(int(row)) for row in rows], tuple(self.varying))


def _with_arrays(inputs: Inputs, arrays: Mapping[int, Any]) -> Inputs:
    """The inputs of a graph, with other arrays in some places."""
    return inputs._replace(arrays=[arrays.get(i, array) for i, array in enumerate(inputs.arrays)])


def simulate_from_prior(
    density: Density, n: int, seed: int, backend: str, simulator: Density | None = None
) -> Simulations:
    """Draw truths from the prior, and a data set from the program at each.

    Args:
        density: the posterior density of the program that is fitted.
        n: how many simulations.
        seed: of all draws.
        backend: how the program was read.
        simulator: another program with the same sites, whose prior and data are taken instead.

    Raises:
        UnsupportedProgram: if a prior is improper, a factor says what no prior draws, or the prior or the
            distribution of the data reads the data themselves.
        ProgramError, InvalidArgument, DataError: as :func:`~ppgen.workflow.calibrate`.
    """
    source = density if simulator is None else simulator
    _refuse_factors(source)
    arguments = _observed_arguments(density)
    _check_alike(density, source, arguments)
    truths = source.draw_prior(seed, n)
    data = _simulate(source, truths, arguments, seed)
    _check_apart(source, _read_first(source, data, backend), data, truths[:1])
    if source is not density:
        truths = _brought_over(source, density, truths)
    places = _find_places(density, arguments)
    again = _read_first(density, data, backend)
    batched = bool(places) and _same_program(density, again, places, data)
    varying = {places[name]: data[name] for name in data} if batched else {}
    return Simulations(density, truths, data, varying, backend)


def simulate_from_posterior(around: Posterior, n: int, seed: int) -> Simulations:
    r"""Take truths from a posterior, draw new data at each, and pair them with what was observed.

    What is fitted is the posterior given both data sets, the old and the new one,

    .. math:: p(\theta \mid y, y') \propto p(y' \mid \theta) \, p(y \mid \theta) \, p(\theta)

    of which the truth is one draw, whatever the data y are.

    Raises:
        InvalidArgument: if the posterior has too few draws, or its weights cannot be used.
        UnsupportedProgram: if the program cannot be evaluated on other data.
    """
    density = around.density
    arguments = _observed_arguments(density)
    alike = around.corrected(seed) if around.drawn.weights is not None else around
    positions = flatten_draws(alike.positions)
    if len(positions) < n:
        raise InvalidArgument(
            "simulations",
            got=f"{n}, more than the {len(positions)} draws of around=",
            expected="at most one simulation a draw of the posterior",
            fix=f"Write simulations={len(positions)}, or post.extend({n}).",
        )
    places = _find_places(density, arguments)
    # Even steps along the chains: neighbours are alike.
    truths = positions[np.linspace(0, len(positions) - 1, n).round().astype(int)]
    data = _simulate(density, truths, arguments, seed)
    again = _read_first(density, data, "jax") if places else density
    if not places or not _same_program(density, again, places, data):
        raise UnsupportedProgram(
            "around",
            got="a program that Python has to run again for other data",
            expected="data that enter the program's operations as arrays",
            fix="Leave out around= to calibrate over the prior.",
        )
    _check_apart(density, again, data, truths[:1])
    return _joined(density, truths, data, places)


def _check_alike(density: Density, source: Density, arguments: Mapping[str, str]) -> None:
    """Refuse a simulator that does not speak of the same sites."""
    latent = {part.name: part.shape for part in density.latents}
    others = {part.name: part.shape for part in source.latents}
    observed = {site.name for site in source.sites if site.role == "observed"}
    if latent != others or observed != set(arguments):
        raise ProgramError(
            "simulator",
            got=f"the sites {', '.join([*others, *sorted(observed)])}",
            expected=f"the sites of the program, in their shapes: {', '.join([*latent, *arguments])}",
            fix="Write the simulator with the same names of sites and arguments.",
        )


def _brought_over(source: Density, density: Density, truths: np.ndarray) -> np.ndarray:
    """The same values of the sites in the unconstrained space of another program."""
    sites = constrain_latents(source, truths[None])
    rows = [{name: values[0, i] for name, values in sites.items()} for i in range(len(truths))]
    moved = np.stack([np.asarray(density.unconstrain(row)) for row in rows])
    if not np.isfinite(moved).all():
        raise ProgramError(
            "simulator",
            got="truths outside of the support that the program gives them",
            expected="the same supports in both programs",
            fix="Give the sites of the simulator distributions on the same sets.",
        )
    return moved


def _joined(
    density: Density, truths: np.ndarray, data: Mapping[str, np.ndarray], places: Mapping[str, int]
) -> Simulations:
    """The density given the observed data and other data of the same shapes, which come last."""
    inputs, graph, count = density.inputs, density.graph, len(density.inputs.arrays)
    second = {count + i: data[name] for i, name in enumerate(data)}

    def both(arrays: list[Any], z: jax.Array) -> Evaluation:
        observed = inputs._replace(arrays=arrays[:count])
        first = graph(observed, z)
        again = {places[name]: array for name, array in zip(data, arrays[count:], strict=True)}
        new = graph(_with_arrays(observed, again), z).log_likelihood
        log_joint = first.log_joint + sum(jnp.sum(value) for value in new.values())
        likelihood = first.log_likelihood | {f"{name} (new)": value for name, value in new.items()}
        return first._replace(log_joint=log_joint, log_likelihood=likelihood)

    with float64():
        arrays = [*inputs.arrays, *(jnp.asarray(values[0]) for values in data.values())]
        joint_graph, joint_inputs = trace(both, arrays, jnp.zeros(density.dim))
    joint = replace(density, graph=joint_graph, inputs=joint_inputs)
    return Simulations(joint, truths, dict(data), second, "jax")


# -- which arguments are observed ------------------------------------------------------------------------


def _observed_arguments(density: Density) -> dict[str, str]:
    """The argument that each observed site observes, by site."""
    observed = [site.name for site in density.sites if site.role == "observed"]
    if not observed:
        raise ProgramError(
            "program",
            got="no observed site: every sample statement is latent",
            expected="at least one sample statement with obs=, whose data can be simulated",
            fix="Hand the data to the program (data={...}) and write obs=y.",
        )
    shown, values = _other_values(density)
    found: dict[str, str] = {}
    for site in observed:
        alike = [name for name, value in values.items() if _equal(value, shown[site])]
        if site in alike:
            alike = [site]
        if len(alike) != 1:
            raise _not_an_argument(density, site, alike, shown[site])
        found[site] = alike[0]
    if len(set(found.values())) < len(found):
        raise InvalidArgument(
            "data",
            got=f"sites {', '.join(map(repr, found))} that observe the same argument",
            expected="an argument of its own for each observed site",
            fix="Give each observed site its own array.",
        )
    return found


def _other_values(density: Density) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What each site observes when all arrays have other values, all different, and these values by argument.

    Arrays that Python reads are constants of the graph; they keep their own.
    """
    values = {name: value for name, value in density.data.items() if is_array(value)}
    names = _array_names(density)
    rng = np.random.default_rng(0)
    with float64():
        for name in names:
            noise = rng.integers(1, 1000, values[name].shape)
            values[name] = ~values[name] if values[name].dtype == bool else values[name] + noise
        inputs = density.inputs._replace(arrays=[jnp.asarray(values[name]) for name in names])
        shown = density.graph(inputs, jnp.zeros(density.dim)).observed
    return {site: np.asarray(value) for site, value in shown.items()}, values


def _array_names(density: Density) -> list[str]:
    """The arguments that are inputs of the graph, in their order."""
    count = len(density.inputs.arrays)
    return next(list(way) for way in [*ways_to_trace(density.data), {}] if len(way) == count)


def _find_places(density: Density, arguments: Mapping[str, str]) -> dict[str, int]:
    """Where the observed arguments are among the graph's inputs; empty if one of them is not."""
    names = _array_names(density)
    wanted = arguments.values()
    return {name: names.index(name) for name in wanted} if set(wanted) <= set(names) else {}


def _not_an_argument(
    density: Density, site: str, alike: list[str], shown: np.ndarray
) -> DataError | UnsupportedProgram:
    numbers = [
        name
        for name, value in density.data.items()
        if isinstance(value, int) and _equal(np.asarray(value), shown)
    ]
    if not alike and numbers:
        return DataError(
            f"data[{numbers[0]!r}]",
            got=f"the Python number {density.data[numbers[0]]}, which is part of the program",
            expected="the observations as an array, whose numbers may change",
            fix=f"Write np.asarray({numbers[0]}).",
        )
    got = "values that are computed inside the program, or not handed to it"
    if alike:
        got = f"values that could be any of the arguments {', '.join(map(repr, alike))}"
    return UnsupportedProgram(
        f"site {site!r}",
        got=got,
        expected="obs= one array argument of the program as it is: simulated data are to take its place",
        fix="Transform the data outside of the program, and hand the result to it as one array.",
    )


def _equal(value: np.ndarray, other: np.ndarray) -> bool:
    return value.shape == other.shape and np.array_equal(value, other)


# -- drawing the data ------------------------------------------------------------------------------------


def _simulate(
    density: Density, truths: np.ndarray, arguments: Mapping[str, str], seed: int
) -> dict[str, np.ndarray]:
    """A data set at each of ``truths (n, dim)``, by argument, in the dtypes of the data."""
    if not np.isfinite(truths).all():
        raise _overflow("the prior", float(1 - np.isfinite(truths).all(1).mean()))
    drawn = simulate_data(density, truths, seed)
    kinds = {site.name: site.discrete for site in density.sites}
    data: dict[str, np.ndarray] = {}
    for site, name in arguments.items():
        values = drawn[site]
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            raise _overflow(f"site {site!r}", float(1 - finite.mean()))
        dtype = density.data[name].dtype
        if dtype.kind != "f" and not kinds[site]:
            raise DataError(
                f"data[{name!r}]",
                got=f"values of dtype {dtype} for the continuous site {site!r}",
                expected="floating-point numbers, in which simulated data can be written",
                fix=f"Write np.asarray({name}, dtype=float).",
            )
        data[name] = values.astype(dtype)
    return data


def _overflow(where: str, share: float) -> DataError:
    return DataError(
        where,
        got=f"{share:.1%} of the simulations with NaN or infinite values",
        expected="finite values wherever the prior leads",
        fix="The prior is so wide that numbers overflow: narrow it, or put parameters on a log scale.",
    )


def _refuse_factors(density: Density) -> None:
    for site in density.sites:
        if site.role == "factor":
            raise no_prior_draws(site.name, "a factor, which weights what the other sites say")


# -- can simulated data take the place of the given ones? ------------------------------------------------


def _read_first(density: Density, data: Mapping[str, np.ndarray], backend: str) -> Density:
    first = {name: values[0] for name, values in data.items()}
    return read_density(density.program, {**density.data, **first}, engine=density.engine, backend=backend)


def _same_program(
    density: Density, again: Density, places: Mapping[str, int], data: Mapping[str, np.ndarray]
) -> bool:
    """Whether the graph that was read with the given data is that of simulated data as well."""
    with float64():
        first = {place: jnp.asarray(data[name][0]) for name, place in places.items()}
        expected = _with_arrays(density.inputs, first)
    return again.graph == density.graph and _same_arrays(again.inputs, expected)


def _same_arrays(inputs: Inputs, others: Inputs) -> bool:
    pairs = zip([*inputs.constants, *inputs.arrays], [*others.constants, *others.arrays], strict=True)
    return all(_same_numbers(np.asarray(one), np.asarray(other)) for one, other in pairs)


def _same_numbers(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _check_apart(density: Density, again: Density, data: Mapping[str, np.ndarray], truth: np.ndarray) -> None:
    """Refuse programs in which the prior, or the distribution of the data, depends on the data.

    Such a program says no joint distribution that data could be simulated from, piece after piece.
    """
    base, other = (float(one.evaluate(truth[0]).log_base) for one in (density, again))
    names = ", ".join(repr(name) for name in data)
    if not np.isclose(base, other, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise UnsupportedProgram(
            "program",
            got=f"a prior that depends on the observed argument {names}",
            expected="a prior that is the same for all data, or the truths are draws of another one",
            fix="Write the prior's numbers into the program, or hand them to it as an argument of their own.",
        )
    drawn, as_drawn = (simulate_data(one, truth, seed=0) for one in (density, again))
    for site in drawn:
        if not _same_numbers(drawn[site], as_drawn[site]):
            raise UnsupportedProgram(
                f"site {site!r}",
                got=f"a distribution that depends on the observed argument {names} itself",
                expected="data that are drawn given the parameters and the covariates alone",
                fix="A series whose values follow one another has to be drawn as one event: write its joint "
                "distribution (for example a GaussianRandomWalk or a multivariate normal).",
            )


def evaluate_together(batch: Batch, positions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Sites, and the joint log likelihood, ``(data set, draw, …)`` at ``positions (data set, draw, dim)``."""
    with float64():
        sites, likelihood = _compile_sites(batch.graph, batch.varies)(batch.inputs, positions)
    return {name: np.asarray(value) for name, value in sites.items()}, np.asarray(likelihood)


@lru_cache(maxsize=64)
def _compile_sites(graph: Graph, varies: tuple[bool, ...]) -> Any:
    def one(inputs: Inputs, z: jax.Array) -> Any:
        point = graph(inputs, z)
        likelihood = sum((jnp.sum(value) for value in point.log_likelihood.values()), jnp.zeros(()))
        return point.values | point.deterministics, likelihood

    return jit(jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(data_axes(varies), 0)))
