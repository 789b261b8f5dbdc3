"""Pyro programs of rows, run in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ppgen.errors import UnsupportedProgram
from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, Place, RowPrograms, RowStatement, RowTrace
from ppgen.program.sites import no_bijection

__all__ = ["PyroRows", "as_tensor", "modules_of"]

_TOLERANCE = 1e-3  # of a record at a second point, relative, in single precision


class PyroRows(RowPrograms):
    """Runs Pyro programs on rows, with ``poutine.scale`` and ``poutine.mask`` as in Pyro's own SVI."""

    sample: ClassVar[str] = "pyro.sample"

    def run(
        self,
        program: Program,
        batch: Batch,
        place: Place | None = None,
        *,
        fixed_draws: bool = False,
        redraw: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch."""
        with poutine.trace() as tracer, _Placed(place, fixed_draws, redraw):
            returned = program(batch.x, **batch.context)
        sites = {
            name: RowStatement(
                not site["is_observed"], site["value"], site["fn"], site["scale"], partial(_log_prob, site)
            )
            for name, site in tracer.trace.nodes.items()
            if site["type"] == "sample" and _counts(site)
        }
        return RowTrace(sites, returned)

    def is_reparameterised(self, distribution: Any) -> bool:
        """Whether a gradient runs through the draws of a distribution."""
        return bool(distribution.has_rsample)

    def bijection(self, name: str, distribution: Any) -> Any:
        """From unconstrained space to the support of a latent site."""
        from ppgen.program.languages.pyro.bijections import find_bijection
        from ppgen.program.languages.pyro.statements import support_of

        support = support_of(distribution)
        try:
            return find_bijection(support)
        except NotImplementedError:
            raise no_bijection(name, type(distribution).__name__, support, "pyro") from None

    def is_discrete(self, distribution: Any) -> bool:
        """Whether values are counts or categories."""
        return bool(distribution.support.is_discrete)

    @contextmanager
    def evaluation_mode(self, *programs: Program, own_parameters: bool) -> Iterator[None]:
        """Run programs without dropout, checks or gradients."""
        modules = modules_of(*programs)
        modes = [(module, module.training) for module in modules]
        dtypes = [p.dtype for module in modules for p in module.parameters() if p.is_floating_point()]
        default, store = torch.get_default_dtype(), pyro.get_param_store()
        unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample", return_value=None)
        try:
            with (
                torch.random.fork_rng(devices=[]),
                store.scope(None if own_parameters else store.get_state()),
                unchecked,
                pyro.validation_enabled(False),
                torch.no_grad(),
            ):
                torch.set_default_dtype(dtypes[0] if dtypes else default)
                for module in modules:
                    module.eval()
                yield
        finally:
            torch.set_default_dtype(default)
            for module, mode in modes:
                module.train(mode)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: torch runs it as it is."""
        return function

    def graph(self, function: Callable[..., Any], *examples: np.ndarray) -> tuple[Any, Any]:
        """A function of tensors, recorded, as a graph of JAX operations."""
        import jax

        from ppgen.program.jaxprs.graph import trace
        from ppgen.program.lowering.recording import record

        tensors = [as_tensor(example) for example in examples]
        elsewhere = [0.5 * (tensors[0] + 1).sin(), *tensors[1:]]
        expected = function(*elsewhere)  # first: a parameter cannot be registered while a record is made
        recording = record(function, *tensors)
        found = recording.in_torch(*elsewhere)
        if not all(map(_alike, expected, found)):
            raise UnsupportedProgram(
                "model",
                got="a log density that Python computes in part",
                expected="torch operations from the sampled values to the log density",
                fix="Keep the sampled values in tensors: no .numpy(), no .tolist().",
            )
        dtypes = [tensor.numpy().dtype for tensor in tensors]

        def in_jax(_: list[Any], *arrays: Any) -> Any:
            return recording.in_jax(*(a.astype(d) for a, d in zip(arrays, dtypes, strict=True)))

        with jax.enable_x64(True):  # each result has the dtype that torch gave it
            return trace(in_jax, [], *examples)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Run programs and leave nothing behind."""
        with pyro.get_param_store().scope(), torch.random.fork_rng(devices=[]), torch.no_grad():
            yield

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Draw with this seed inside."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    def split(self, key: Any) -> tuple[Any, Any]:
        """Two keys of one."""
        return key, key

    def as_array(self, rows: np.ndarray) -> Tensor:
        """Rows as a program takes them."""
        return as_tensor(rows)

    def as_numpy(self, array: Tensor) -> np.ndarray:
        """The values of an array."""
        return array.numpy(force=True)

    def concatenate(self, parts: list[Tensor]) -> Tensor:
        """Rows side by side."""
        return torch.cat(parts, 1)

    def repeat(self, array: Tensor, times: int) -> Tensor:
        """The array as often as that along its first axis."""
        return array.repeat(times, *(1,) * (array.ndim - 1))

    def logsumexp(self, array: Tensor) -> Tensor:
        """Over the first axis."""
        return array.logsumexp(0)

    def softmax(self, array: Tensor) -> Tensor:
        """Over the first axis."""
        return array.softmax(0)

    def stop_gradient(self, array: Tensor) -> Tensor:
        """The same values as constants."""
        return array.detach()


def as_tensor(rows: np.ndarray) -> Tensor:
    """Rows as a program takes them: floats in the default precision, integers as they are."""
    tensor = torch.from_numpy(np.ascontiguousarray(rows))
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


class _Placed(Messenger):
    """Gives latent sites their values, and draws the others with or without a gradient."""

    def __init__(self, place: Place | None, fixed_draws: bool, redraw: bool) -> None:
        super().__init__()
        self.place, self.fixed_draws, self.redraw = place, fixed_draws, redraw

    def _pyro_sample(self, msg: Any) -> None:
        if self.redraw and msg["is_observed"] and _counts(msg):
            msg["value"], msg["is_observed"] = None, False
        if msg["is_observed"] or msg["value"] is not None or poutine.util.site_is_subsample(msg):
            return
        if self.place is not None:
            msg["value"] = self.place(msg["name"], msg["fn"])
        if msg["value"] is None and self.fixed_draws:
            # The trace keeps the draw as it was made, so it is made here.
            with torch.no_grad():
                msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])
        msg["done"] = msg["value"] is not None


def _alike(expected: Tensor, found: Tensor) -> bool:
    return torch.allclose(expected, found, rtol=_TOLERANCE, equal_nan=True)


def modules_of(*programs: Program) -> tuple[nn.Module, ...]:
    """The modules behind programs, whose training mode is switched."""
    # A method's module is its owner; model and guide of one family are one module.
    owners = {id(owner): owner for owner in (getattr(program, "__self__", program) for program in programs)}
    return tuple(owner for owner in owners.values() if isinstance(owner, nn.Module))


def _log_prob(site: Any) -> Tensor:
    log_prob = site["fn"].log_prob(site["value"])
    return scale_and_mask(log_prob, site["scale"], site["mask"])


def _counts(site: Any) -> bool:
    # pyro.deterministic records its value as a sample site, and a plate its subsample.
    return not (site["infer"] or {}).get("_deterministic") and not poutine.util.site_is_subsample(site)
