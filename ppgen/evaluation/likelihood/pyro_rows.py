"""The rows of a Pyro program: the two ends of a path recorded in torch for one row, replayed in JAX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ppgen.errors import ProgramError, UnsupportedProgram
from ppgen.evaluation.likelihood.latent_rows import LatentRows, RowPair, Simulated, Start, Subject
from ppgen.program.bounds import log_density
from ppgen.program.jaxprs.graph import trace
from ppgen.program.languages.pyro.program import base_of, bijection_of, role_of, run_program, support_of
from ppgen.program.languages.rows import Batch
from ppgen.program.languages.rows.pyro import PyroRows
from ppgen.program.lowering.recording import record
from ppgen.program.pairing import check_pair

__all__ = ["read_pyro_rows"]

_TRIAL = 3  # rows of the run that looks at shapes: one would hide what all rows share
_TOLERANCE = 1e-3  # of a record at a second point, relative, in single precision


def read_pyro_rows(subject: Subject, example: np.ndarray, label: int | None) -> LatentRows:
    """Read the rows of one class off a Pyro program, at one row ``(*shape)``."""
    programs = _Programs(subject, label)
    with programs.at_rest():
        programs.check(programs.tensor(example).repeat(_TRIAL, *(1,) * example.ndim))
        layout = programs.layout(programs.tensor(example)[None])
    dim = sum(int(np.prod(shape)) for shape in layout.values())

    def pair(start: Start) -> RowPair:
        with programs.at_rest():
            return _recorded(programs, layout, dim, start, example)

    def draw(start: Start, row: np.ndarray, chains: int, seed: int) -> np.ndarray:
        x = programs.tensor(row).repeat(chains, *(1,) * row.ndim)
        with programs.at_rest(), torch.no_grad():
            torch.manual_seed(seed)
            values = None if start == "prior" else programs.guided(x)
            return _unconstrained(programs.run(x, values), layout)

    def simulate(n: int, seed: int) -> Simulated:
        x = programs.tensor(example).repeat(n, *(1,) * example.ndim)
        with programs.at_rest(), torch.no_grad(), _Simulating(x) as fresh:
            torch.manual_seed(seed)
            sites = programs.run(x, None)
        return Simulated(fresh.made(example.dtype), _unconstrained(sites, layout))

    return LatentRows(dim, pair, draw, simulate)


class _Programs:
    """Model and guide for rows of one class, at rest: no dropout, no gradients, a parameter store apart."""

    def __init__(self, subject: Subject, label: int | None) -> None:
        self.subject, self.label = subject, label
        owners = (getattr(part, "__self__", part) for part in (subject.family, subject.model, subject.guide))
        self.modules = [owner for owner in owners if isinstance(owner, nn.Module)]
        tensor = next((p for module in self.modules for p in module.parameters()), torch.zeros(()))
        self.dtype = tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype()

    def tensor(self, rows: np.ndarray) -> Tensor:
        """Rows as the program takes them."""
        return torch.from_numpy(np.array(rows)).to(self.dtype if rows.dtype.kind == "f" else torch.int64)

    def model(self, x: Tensor) -> Any:
        return self.subject.model(x, **self._context(len(x)))

    def guide(self, x: Tensor) -> Any:
        assert self.subject.guide is not None
        return self.subject.guide(x, **self._context(len(x)))

    def _context(self, n: int) -> dict[str, Any]:
        return {} if self.label is None else {"label": torch.full((n,), self.label)}

    def check(self, x: Tensor) -> None:
        """Refuse what has not one log density a row, or a guide that does not match."""
        torch.manual_seed(0)
        with torch.no_grad():
            log_density(PyroRows(), self.model, Batch(x))
        if self.subject.guide is not None:
            check_pair(PyroRows(), self.model, self.guide, Batch(x), reparameterised=False)

    def layout(self, x: Tensor) -> dict[str, tuple[int, ...]]:
        """The unconstrained shape of each latent site of one row."""
        shapes = {}
        for name, site in self.run(x, None).items():
            if site["scale"] != 1:
                raise UnsupportedProgram(
                    f"site {name!r}",
                    got=f"a log density scaled by {site['scale']}",
                    expected="a density, which integrates to 1",
                    fix="Take out poutine.scale.",
                )
            if role_of(site) == "latent":
                _check_latent(name, site["fn"])
                shapes[name] = tuple(bijection_of(site).inverse_shape(site["fn"].shape()))
        if not shapes:
            raise ProgramError(
                "model",
                got="no latent site: the log density of a row is exact",
                expected="a program that samples something else than the rows",
                fix="Write model.log_prob(x).",
            )
        return shapes

    def run(self, x: Tensor, values: Mapping[str, Tensor] | None) -> dict[str, Any]:
        """The model's sample statements, with latent values or with its own draws."""
        return run_program(
            self.model, {"x": x}, lambda site: None if values is None else values[site["name"]]
        )

    def guided(self, x: Tensor) -> dict[str, Tensor]:
        """Draws of the guide."""
        return {
            name: site["value"] for name, site in run_program(self.guide, {"x": x}, lambda _: None).items()
        }

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Leaves the user's random state, parameters and modes as they were."""
        modes = [(module, module.training) for module in self.modules]
        store = pyro.get_param_store()
        # A family's parameters are its own; a program's may be what training has left in the store.
        state = store.get_state() if self.subject.family is None else None
        unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample", return_value=None)
        try:
            with (
                torch.random.fork_rng(devices=[]),
                store.scope(state),
                unchecked,
                pyro.validation_enabled(False),
            ):
                for module in self.modules:
                    module.eval()
                yield
        finally:
            for module, mode in modes:
                module.train(mode)


def _recorded(
    programs: _Programs, layout: Mapping[str, tuple[int, ...]], dim: int, start: Start, example: np.ndarray
) -> RowPair:
    x = programs.tensor(example)[None]

    def ends(u: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The log densities of the start and of the joint at one row's vector."""
        values: dict[str, Tensor] = {}
        parts, first = {}, 0
        for name, shape in layout.items():
            size = int(np.prod(shape))
            parts[name] = u[first : first + size].reshape(shape)
            first += size
        jacobian = u.new_zeros(())

        def place(site: Any) -> Tensor:
            nonlocal jacobian
            name, bijection = site["name"], bijection_of(site)
            values[name] = bijection(parts[name])
            jacobian = jacobian + bijection.log_abs_det_jacobian(parts[name], values[name]).sum()
            return values[name]

        sites = run_program(programs.model, {"x": x}, place)
        prior = sum((_log_prob(sites[name]) for name in layout), jacobian)
        joint = sum((_log_prob(site) for name, site in sites.items() if name not in layout), prior)
        if start == "prior":
            return prior, joint
        guided = run_program(programs.guide, {"x": x}, lambda site: values[site["name"]])
        for name, site in guided.items():
            _check_latent(name, site["fn"])
        return sum((_log_prob(site) for site in guided.values()), jacobian), joint

    u = 0.1 * torch.cos(torch.arange(dim, dtype=programs.dtype))
    elsewhere = 0.5 * torch.sin(torch.arange(dim, dtype=programs.dtype) + 1)
    with torch.no_grad():
        expected = ends(elsewhere, x)  # first: a parameter cannot be registered while a record is made
        recording = record(ends, u, x)
        found = recording.in_torch(elsewhere, x)
    if not all(
        torch.allclose(a, b, rtol=_TOLERANCE, equal_nan=True) for a, b in zip(expected, found, strict=True)
    ):
        raise UnsupportedProgram(
            "model",
            got="a log density that Python computes in part",
            expected="torch operations from the sampled values to the log density",
            fix="Keep the sampled values in tensors: no .numpy(), no .tolist().",
        )
    dtype = torch.empty(0, dtype=programs.dtype).numpy().dtype

    def in_jax(_: list[Any], u: Any, x: Any) -> tuple[Any, Any]:
        base, joint = recording.in_jax(u.astype(dtype), x[None])
        return base, joint

    with jax.enable_x64(True):  # each result has the dtype that torch gave it
        graph, inputs = trace(in_jax, [], np.zeros(dim), x[0].numpy())
    return RowPair(graph, inputs, x.numpy().dtype)


def _unconstrained(sites: Mapping[str, Any], layout: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    """The latent values of rows as unconstrained vectors ``(n, dim)``."""
    parts = [bijection_of(sites[name]).inv(sites[name]["value"]) for name in layout]
    return torch.cat([part.reshape(len(part), -1) for part in parts], 1).double().numpy()


def _log_prob(site: Any) -> Tensor:
    """The log density of a site of one row, 0 where the program masks it."""
    log_prob, mask = site["fn"].log_prob(site["value"]), site["mask"]
    return (log_prob if mask is None else torch.where(torch.as_tensor(mask), log_prob, 0.0)).sum()


def _check_latent(name: str, distribution: Any) -> None:
    base = base_of(distribution)
    if isinstance(base, pyro.distributions.Delta) or support_of(distribution).is_discrete:
        raise UnsupportedProgram(
            f"site {name!r}",
            got=f"a latent {type(base).__name__}",
            expected="continuous latent sites: Hamiltonian moves follow a gradient",
            fix="Give label=... where it is the row's class, sum it out in the program, or write the program "
            "in NumPyro, where finite discrete sites are summed out; model.log_prob(x) gives a bound.",
        )


class _Simulating(Messenger):
    """Draws the observed rows ``(n, *shape)`` anew."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows
        self.drawn: dict[str, Any] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if poutine.util.site_is_subsample(msg) or not msg["is_observed"]:
            return
        name = msg["name"]
        if role_of(msg) != "observed" or tuple(msg["value"].shape) != tuple(self.rows.shape):
            raise _not_simulated(f"an observed site {name!r} that is not the rows themselves")
        self.drawn[name] = msg
        msg["value"], msg["is_observed"] = None, False

    def made(self, dtype: np.dtype) -> np.ndarray:
        """The rows."""
        if len(self.drawn) != 1:
            raise _not_simulated(f"{len(self.drawn)} observed sites")
        (message,) = self.drawn.values()
        return message["value"].numpy().astype(dtype)


def _not_simulated(got: str) -> UnsupportedProgram:
    return UnsupportedProgram(
        "model",
        got=got,
        expected="one observed site, the rows: others cannot be simulated",
        fix="Write annealed_likelihood(model, x) alone, which needs no simulation.",
    )
