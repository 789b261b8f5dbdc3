"""Trained models as distributions for ``pyro.sample``: frozen, and in double precision."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution, TransformedDistribution
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch import Size, Tensor
from torch.distributions import Independent, constraints
from torch.distributions.transforms import AffineTransform

from ppgen.errors import InvalidArgument, NoLikelihood
from ppgen.program.capabilities import HasExactDensity, HasGuide
from ppgen.program.languages.site import FrozenModel, Sites, batch_of, check_latents

__all__ = ["FrozenDistribution", "PyroSites"]

Distribution = Any  # Pyro's own class derives from typing.Callable, which runtime checks refuse


class PyroSites(Sites):
    """Trained torch models in Pyro programs."""

    def freeze(self, family: Any, label: int | None, *, decoder: bool) -> FrozenModel:
        """A copy of a torch family, in double precision and without trainable parameters."""
        _check_label(family, label)
        latents = _latents(family, label) if decoder and isinstance(family, HasGuide) else {}
        if decoder and not latents:
            raise NoLikelihood(
                "family",
                got=f"a {type(family).__name__}, whose rows do not come from latent variables by a decoder",
                expected="a family such as VAE",
                fix="Write as_site(family) if it has a density.",
            )
        if not decoder:
            _check_density(family)
        return _Frozen(copy.deepcopy(family).double().requires_grad_(False).eval(), label, latents)

    def distribution(self, frozen: FrozenModel) -> Distribution:
        """The distribution of one row."""
        return frozen()

    def decoder(self, frozen: FrozenModel) -> FrozenModel:
        """The frozen model itself."""
        return frozen


@dataclass(frozen=True, eq=False)
class _Frozen:
    """A frozen torch family.

    Attributes:
        family: the frozen copy.
        label: the class of the rows.
        latents: the shape of each latent variable that rows are given; none for rows by themselves.
    """

    family: Any
    label: int | None
    latents: Mapping[str, Size]

    def __call__(self, *values: Any, **named: Any) -> Distribution:
        """The distribution of one row; of rows ``(*batch, *shape)`` given latents ``(*batch, *their shape)``.

        Raises:
            InvalidArgument: if these are not the latent variables, or their shapes do not fit.
        """
        if not self.latents:
            label = {} if self.label is None else {"label": torch.tensor(self.label)}
            return FrozenDistribution(self.family.density(**label))
        given = check_latents(self.latents, values, named)
        batch = Size(batch_of(self.latents, given))
        flat = {
            name: torch.as_tensor(value).double().expand(batch + shape).reshape(-1, *shape)
            for (name, shape), value in zip(self.latents.items(), given.values(), strict=True)
        }
        observation = _observation(self.family, flat, self.label)
        return FrozenDistribution(_entries(observation), batch)


class FrozenDistribution(TorchDistribution):
    """A distribution of a frozen model: scored in double precision, drawn in the precision of the program.

    Args:
        base: the model's own distribution.
        batch: what the first batch dimension of the model's own is unfolded into; ``None`` leaves it.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (torch's own declaration)

    def __init__(self, base: Distribution, batch: Size | None = None) -> None:
        self.base = base
        self.batch = batch
        self.has_rsample = base.has_rsample
        shape = base.batch_shape if batch is None else batch + base.batch_shape[1:]
        super().__init__(shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The model's own support."""
        return self.base.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Distribution:
        """The same distribution over a larger batch."""
        if Size(batch_shape) == self.batch_shape:
            return self
        if self.batch is None:
            return FrozenDistribution(self.base.expand(Size(batch_shape)))
        return super().expand(Size(batch_shape), _instance)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log density ``(*batch)`` of values ``(*batch, *event)``."""
        value = value.double() if value.is_floating_point() else value
        if self.batch is None:
            return self.base.log_prob(value)
        value = value.expand(torch.broadcast_shapes(value.shape, self.shape()))
        samples = value.shape[: value.ndim - len(self.shape())]
        log_prob = self.base.log_prob(value.reshape(*samples, *self.base.shape()))
        return log_prob.reshape(*samples, *self.batch_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, *event)``, with gradients."""
        return self._unfolded(self.base.rsample(Size(sample_shape)), Size(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch, *event)``."""
        with torch.no_grad():
            return self._unfolded(self.base.sample(Size(sample_shape)), Size(sample_shape))

    def _unfolded(self, drawn: Tensor, sample_shape: Size) -> Tensor:
        drawn = drawn.to(torch.get_default_dtype()) if drawn.is_floating_point() else drawn
        return drawn.reshape(self.shape(sample_shape))


# -- the family's own program ----------------------------------------------------------------------------


@contextmanager
def _on_its_own() -> Iterator[None]:
    """Run a program alongside the one that is running, not within it: without its handlers and plates."""
    handlers, plates = _PYRO_STACK[:], _DIM_ALLOCATOR._stack[:]
    _PYRO_STACK.clear()
    _DIM_ALLOCATOR._stack.clear()
    try:
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            yield
    finally:
        _PYRO_STACK[:] = handlers
        _DIM_ALLOCATOR._stack[:] = plates


def _latents(family: Any, label: int | None) -> dict[str, Size]:
    """The latent variables of one row, in the order of the program."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _on_its_own():
        sites = poutine.trace(family.model).get_trace(None, 1, **_labelled(label, 1)).nodes
    latent = {
        name: site["value"].shape[1:]
        for name, site in sites.items()
        if site["type"] == "sample" and name != "x" and not poutine.util.site_is_subsample(site)
    }
    return {} if isinstance(sites["x"]["fn"], pyro.distributions.Delta) else latent


def _observation(family: Any, latents: Mapping[str, Tensor], label: int | None) -> Distribution:
    """The distribution of the rows, given latent variables ``(n, *their shape)``."""
    n = len(next(iter(latents.values())))
    # Rows are observed, whatever they are: drawing them would be for nothing.
    rows = torch.zeros(n, *family.shape, dtype=torch.float64 if family.levels is None else torch.int64)
    with _on_its_own():
        model = poutine.condition(family.model, data=dict(latents))
        return poutine.trace(model).get_trace(rows, **_labelled(label, n)).nodes["x"]["fn"]


def _labelled(label: int | None, n: int) -> dict[str, Tensor]:
    return {} if label is None else {"label": torch.full((n,), label)}


def _entries(rows: Distribution) -> Distribution:
    """The distribution of rows with each entry in the batch, where entries are independent."""
    if isinstance(rows, Independent):
        return rows.base_dist
    if isinstance(rows, TransformedDistribution) and isinstance(rows.base_dist, Independent):
        (units,) = rows.transforms
        if isinstance(units, AffineTransform):
            return TransformedDistribution(
                rows.base_dist.base_dist, [AffineTransform(units.loc, units.scale)]
            )
    return rows


# -- what can be frozen ------------------------------------------------------------------------------------


def _check_label(family: Any, label: int | None) -> None:
    classes = family.config.get("classes")
    if classes is None and label is None:
        return
    if classes is None or label is None or not 0 <= label < classes:
        raise InvalidArgument(
            "label",
            got=repr(label),
            expected="nothing: the family has no classes"
            if classes is None
            else f"a class 0 … {classes - 1}",
            fix="Leave label out." if classes is None else "Write label=0, for example.",
        )


def _check_density(family: Any) -> None:
    if family.config.get("trace") == "hutchinson":
        raise NoLikelihood(
            "family",
            got="a flow whose density is a random estimate (Hutchinson's trace)",
            expected="a density that is the same at every call",
            fix='Build it with trace="exact".',
        )
    if not isinstance(family, HasExactDensity):
        raise NoLikelihood(
            "family",
            got=f"a {type(family).__name__}, which has no exact density of its rows",
            expected="a flow or an autoregressive model",
            fix="For one with latent variables write as_decoder(family), and sample them in the program.",
        )
