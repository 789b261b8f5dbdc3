"""Pyro programs of rows, run in torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, RowPrograms, RowStatement, RowTrace

__all__ = ["PyroRows", "as_tensor"]


class PyroRows(RowPrograms):
    """Runs Pyro programs on rows, with ``poutine.scale`` and ``poutine.mask`` as in Pyro's own SVI."""

    sample: ClassVar[str] = "pyro.sample"

    def run(
        self,
        program: Program,
        batch: Batch,
        values: Mapping[str, Any] | None = None,
        *,
        fixed_draws: bool = False,
    ) -> RowTrace:
        """Run a program on a minibatch."""
        with poutine.trace() as tracer, _Latents(values or {}, fixed_draws):
            returned = program(batch.x, **batch.context)
        sites = {
            name: RowStatement(not site["is_observed"], site["value"], site["fn"], partial(_log_prob, site))
            for name, site in tracer.trace.nodes.items()
            if site["type"] == "sample" and _counts(site)
        }
        return RowTrace(sites, returned)

    def is_reparameterised(self, distribution: Any) -> bool:
        """Whether a gradient runs through the draws of a distribution."""
        return bool(distribution.has_rsample)

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


class _Latents(Messenger):
    """Gives latent sites their values, and draws the others with or without a gradient."""

    def __init__(self, values: Mapping[str, Any], fixed_draws: bool) -> None:
        super().__init__()
        self.values, self.fixed_draws = values, fixed_draws

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None:
            return
        if msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]
        elif self.fixed_draws:
            # The trace keeps the draw as it was made, so it is made here.
            with torch.no_grad():
                msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])
        msg["done"] = msg["value"] is not None


def _log_prob(site: Any) -> Tensor:
    log_prob = site["fn"].log_prob(site["value"])
    return scale_and_mask(log_prob, site["scale"], site["mask"])


def _counts(site: Any) -> bool:
    # pyro.deterministic records its value as a sample site, and a plate its subsample.
    return not (site["infer"] or {}).get("_deterministic") and not poutine.util.site_is_subsample(site)
