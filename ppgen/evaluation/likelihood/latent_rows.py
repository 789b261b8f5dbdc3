"""A latent-variable model as annealing needs it: two log densities of one example's latent vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.evaluation.likelihood.subject import Start, Subject
from ppgen.program.bounds import log_density
from ppgen.program.density import float64
from ppgen.program.jaxprs.graph import Graph, Inputs, trace
from ppgen.program.languages.language import find_language
from ppgen.program.languages.rows import Batch, RowStatement, RowTrace
from ppgen.program.pairing import check_pair
from ppgen.program.read import read_density

__all__ = ["LatentRows", "RowPair", "Simulated"]

_TRIAL = 3  # examples of the trial run for shapes: with one, shared and per-example sites would look alike


class RowPair(NamedTuple):
    r"""The two ends of the path of one example's latent vector, on unconstrained space.

    Attributes:
        graph: ``(inputs, u (dim,), x (*shape))`` to :math:`\log q(u)`, normalised, and
            :math:`\log p(x, u)`; both with the Jacobian.
        inputs: the arrays that it reads, including the model's parameters.
        dtype: the dtype that it takes ``x`` in.
    """

    graph: Graph
    inputs: Inputs
    dtype: np.dtype


class Simulated(NamedTuple):
    """Simulated examples ``(n, *shape)``, and the latent vectors ``(n, dim)`` that generated them.

    Each latent vector is an exact draw from the posterior given its example.
    """

    x: np.ndarray
    latent: np.ndarray


class LatentRows:
    """The examples of one class, or of all if there are no classes, as a program describes them.

    Args:
        subject: the program, and its guide.
        example: one example ``(*shape)``.
        label: the class.

    Attributes:
        layout: the unconstrained shape of each continuous latent site of one example, in order.
        dim: the length of an example's unconstrained latent vector.

    Raises:
        ProgramError: if a site's log density is not one number per example, or nothing is latent.
        UnsupportedProgram: for latent sites without a gradient.
    """

    def __init__(self, subject: Subject, example: np.ndarray, label: int | None) -> None:
        self.subject, self.label, self.example = subject, label, np.array(example)
        self.rows = find_language(subject.engine).rows
        self._drawers: dict[tuple[Start, int], Callable[..., Any]] = {}
        with self._running(), self.rows.seeded(0) as key:
            self.trial = self._checked(self._batch(self._row, _TRIAL, key))
            latent = self.rows.run(subject.model, self._batch(self._row, 1, key)).latent
            self.layout = {
                name: tuple(self._bijection(name, site).inverse_shape(site.value.shape))
                for name, site in latent.items()
                if not self.rows.is_discrete(site.distribution)
            }
        self.dim = sum(map(math.prod, self.layout.values()))

    def pair(self, start: Start) -> RowPair:
        """The ends of the path from a start.

        Raises:
            UnsupportedProgram: if the program cannot be traced in JAX.
        """
        if len(self.layout) < len(self.trial.latent):
            return self._summed()
        u = 0.1 * np.cos(np.arange(self.dim))
        with self._running():
            graph, inputs = self.rows.graph(lambda u, x: self._ends(start, u, x), u, self.example)
        return RowPair(graph, inputs, self.example.dtype)

    def draw(self, start: Start, row: np.ndarray, chains: int, seed: int) -> np.ndarray:
        """Draw ``(chains, dim)`` from a start for an example ``(*shape)``; they depend on nothing else."""
        if (start, chains) not in self._drawers:
            self._drawers[start, chains] = self.rows.compiled(self._drawer(start, chains))
        with self._running(), self.rows.seeded(seed) as key:
            drawn = self._drawers[start, chains](key, self.rows.as_array(np.array(row)))
        return self.rows.as_numpy(drawn).astype(np.float64)

    def simulate(self, n: int, seed: int) -> Simulated:
        """Simulate examples from the model.

        Raises:
            UnsupportedProgram: if it observes anything other than ``x``.
        """
        name = self._observed()
        with self._running(), self.rows.seeded(seed) as key:
            made = self.rows.run(self.subject.model, self._batch(self._row, n, key), redraw=True)
            latent = self.rows.as_numpy(self._unconstrained(made)).astype(np.float64)
        return Simulated(self.rows.as_numpy(made.sites[name].value).astype(self.example.dtype), latent)

    # -- running the programs ----------------------------------------------------------------------------

    def _running(self) -> AbstractContextManager[None]:
        programs = [self.subject.model] + ([] if self.subject.guide is None else [self.subject.guide])
        return self.rows.evaluation_mode(*programs, own_parameters=self.subject.family is not None)

    @property
    def _row(self) -> Any:
        return self.rows.as_array(self.example)

    def _batch(self, row: Any, n: int, key: Any) -> Batch:
        label = None if self.label is None else self.rows.as_array(np.full(n, self.label))
        return Batch(self.rows.repeat(row[None], n), label, key)

    def _drawer(self, start: Start, chains: int) -> Callable[[Any, Any], Any]:
        def draw(key: Any, row: Any) -> Any:
            model_key, guide_key = self.rows.split(key)
            batch = self._batch(row, chains, model_key)
            if start == "prior":
                return self._unconstrained(self.rows.run(self.subject.model, batch))
            guided = self.rows.run(self._guide, batch._replace(key=guide_key))
            return self._unconstrained(
                self.rows.run(self.subject.model, batch, lambda name, _: guided.value(name))
            )

        return draw

    def _unconstrained(self, run: RowTrace) -> Any:
        """The latent values of examples as unconstrained vectors ``(n, dim)``."""
        sites = {name: run.sites[name] for name in self.layout}
        parts = [self._bijection(name, site).inv(site.value) for name, site in sites.items()]
        return self.rows.concatenate([part.reshape(len(part), -1) for part in parts])

    def _ends(self, start: Start, u: Any, x: Any) -> tuple[Any, Any]:
        """The log densities of the start and of the joint at one example's vector."""
        parts, values, jacobian = self._split(u), {}, 0.0

        def place(name: str, distribution: Any) -> Any:
            nonlocal jacobian
            bijection, part = self.rows.bijection(name, distribution), parts[name]
            values[name] = bijection(part)
            jacobian = jacobian + bijection.log_abs_det_jacobian(part, values[name]).sum()
            return values[name]

        with self.rows.seeded(0) as key:
            batch = self._batch(x, 1, key)
            run = self.rows.run(self.subject.model, batch, place)
            log_prob = {name: site.log_prob().sum() for name, site in run.sites.items()}
            joint = sum(log_prob.values(), jacobian)
            if start == "prior":
                return sum((log_prob[name] for name in self.layout), jacobian), joint
            guided = self.rows.run(self._guide, batch, lambda name, _: values[name])
            return sum((site.log_prob().sum() for site in guided.sites.values()), jacobian), joint

    def _split(self, u: Any) -> dict[str, Any]:
        parts, first = {}, 0
        for name, shape in self.layout.items():
            parts[name] = u[first : first + math.prod(shape)].reshape(shape)
            first += math.prod(shape)
        return parts

    def _summed(self) -> RowPair:
        """The ends of the path from the prior, with finite discrete sites marginalised."""

        def program(x: Any) -> Any:
            return self.subject.model(x, **self._batch(x[0], 1, None).context)

        density = read_density(program, {"x": self.example[None]}, engine=self.subject.engine)
        (given,) = density.inputs.arrays

        def ends(constants: list[Any], u: Any, x: Any) -> tuple[Any, Any]:
            point = density.graph(Inputs(constants, [x[None]]), u)
            return point.log_base, point.log_joint

        with float64():
            graph, inputs = trace(ends, density.inputs.constants, np.zeros(density.dim), given[0])
        return RowPair(graph, inputs, np.dtype(given.dtype))

    def _bijection(self, name: str, site: RowStatement) -> Any:
        return self.rows.bijection(name, site.distribution)

    @property
    def _guide(self) -> Any:
        assert self.subject.guide is not None  # ensured by check_start
        return self.subject.guide

    # -- what is rejected --------------------------------------------------------------------------------

    def _checked(self, batch: Batch) -> RowTrace:
        run = self.rows.run(self.subject.model, batch)
        for name, site in run.sites.items():
            if site.scale is not None and site.scale != 1:
                raise UnsupportedProgram(
                    f"site {name!r}",
                    got="a scaled log density",
                    expected="a density, which integrates to 1",
                    fix="Remove the handler that scales it, and the subsample_size= of its plates.",
                )
        log_density(self.rows, self.subject.model, batch)
        if not run.latent:
            raise ProgramError(
                "model",
                got="no latent site: the log density is exact",
                expected="a program with latent sites",
                fix="Write model.log_prob(x).",
            )
        self._check_continuous(run)
        if self.subject.guide is not None:
            check_pair(self.rows, self.subject.model, self.subject.guide, batch, reparameterised=False)
            self._check_continuous(self.rows.run(self.subject.guide, batch))
        return run

    def _check_continuous(self, run: RowTrace) -> None:
        """Reject discrete latent sites, except finite ones without a guide, which are marginalised."""
        discrete = [name for name, s in run.latent.items() if self.rows.is_discrete(s.distribution)]
        kinds = {name: self.rows.kind(site.distribution) for name, site in run.latent.items()}
        without = [name for name, kind in kinds.items() if kind == "Delta"]
        if self.subject.guide is not None or len(discrete) == len(run.latent):
            without += discrete
        if without:
            raise UnsupportedProgram(
                f"site {without[0]!r}",
                got=f"a latent {kinds[without[0]]}",
                expected="continuous latent sites: Hamiltonian moves need a gradient",
                fix="Pass label=... if it is the class, or marginalise it in the program. Finite sites "
                "next to continuous ones are marginalised if there is no guide.",
            )

    def _observed(self) -> str:
        """The name of the site where the data are observed."""
        observed = {name: site for name, site in self.trial.sites.items() if not site.latent}
        for name, site in observed.items():
            rows = (_TRIAL, *self.example.shape)
            if tuple(site.value.shape) != rows or self.rows.kind(site.distribution) == "Unit":
                raise _not_simulated(f"an observed site {name!r} that is not the data")
        if len(observed) != 1:
            raise _not_simulated(f"{len(observed)} observed sites")
        return next(iter(observed))


def _not_simulated(got: str) -> UnsupportedProgram:
    return UnsupportedProgram(
        "model",
        got=got,
        expected="one observed site, the data: others cannot be simulated",
        fix="Use annealed_likelihood(model, x), which needs no simulation.",
    )
