"""A Pyro program, run at a point of its latent sites, and the sites that such a run shows.

No sampling from the prior is needed, so improper priors are fine. The user's random state, parameter
store and torch settings are the same afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch.distributions import Transform
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ppgen.errors import PpgenError, UnsupportedProgram
from ppgen.program.arguments import is_array
from ppgen.program.discrete.enumeration import Discrete, all_combinations, not_finite
from ppgen.program.explain import explained
from ppgen.program.family import Program
from ppgen.program.languages.pyro.bijections import find_bijection
from ppgen.program.languages.pyro.plates import read_plates
from ppgen.program.sites import Plate, Role, Site, check_log_prob_shape
from ppgen.program.subsampling import Subsampled, read_in_full

__all__ = [
    "Place",
    "Run",
    "SelectByTensor",
    "base_of",
    "bijection_of",
    "discrete_of",
    "first_value",
    "own_state",
    "pyro_sites",
    "read_program",
    "role_of",
    "run_program",
    "site_of",
    "support_of",
    "to_tensors",
]

Place = Callable[[Any], torch.Tensor | None]
"""From the message of a latent site to its value; ``None`` leaves it to Pyro."""

_TRIES = 10


class Run(NamedTuple):
    """One run of a program.

    Attributes:
        messages: the program's sample statements by name, in order.
        parts: the unconstrained value of each continuous latent site.
        discrete: the discrete latent sites.
    """

    messages: Mapping[str, Any]
    parts: Mapping[str, torch.Tensor]
    discrete: Mapping[str, Discrete]


def pyro_sites(program: Program, data: Mapping[str, Any]) -> tuple[Site, ...]:
    """The sites of a Pyro program on this data, each with its shapes checked.

    Raises:
        ProgramError: if the program fails on this data, or a site's parameters and value broadcast.
    """
    subsampled: dict[str, Subsampled] = {}
    with read_in_full(subsampled), own_state(), read_plates(found=subsampled):
        return tuple(site_of(message) for message in read_program(program, data).messages.values())


def read_program(program: Program, data: Mapping[str, Any]) -> Run:
    """Run a program once at some point that it accepts, with all of Pyro's own checks.

    The point lies near 0 in unconstrained space, but not at 0, where many programs have a degenerate
    scale or covariance; a point that a check refuses is tried no more than a few times.
    """
    with pyro.validation_enabled(), torch.no_grad():
        for attempt in range(_TRIES):
            generator = torch.Generator().manual_seed(attempt)
            parts: dict[str, torch.Tensor] = {}
            discrete: dict[str, Discrete] = {}

            def anywhere(
                message: Any, generator: Any = generator, parts: Any = parts, discrete: Any = discrete
            ) -> torch.Tensor:
                if _is_discrete(message["fn"]):
                    discrete[message["name"]] = discrete_of(message)
                    return first_value(message)
                bijection = bijection_of(message)
                part = torch.randn(bijection.inverse_shape(message["fn"].shape()), generator=generator)
                parts[message["name"]] = part / 4
                return bijection(parts[message["name"]])

            try:
                return Run(run_program(program, to_tensors(data), anywhere), parts, discrete)
            except PpgenError:
                raise
            except (ValueError, torch.linalg.LinAlgError):
                if attempt == _TRIES - 1:
                    raise
    raise AssertionError("the last attempt either returns or raises")


def run_program(program: Program, data: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Run a program with its latent sites placed, and give back the messages of its sample statements."""
    with poutine.trace() as tracer, _Placed(place):
        program(**data)
    return {
        name: message
        for name, message in tracer.trace.nodes.items()
        if message["type"] == "sample" and not poutine.util.site_is_subsample(message)
    }


class _Placed(Messenger):
    """Gives each latent site the value that ``place`` finds for it, and each fixed parameter its own."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            msg["value"] = torch.as_tensor(msg["value"])  # a number is an observation too
        elif msg["value"] is None and not poutine.util.site_is_subsample(msg):
            msg["value"] = self.place(msg)

    def _pyro_param(self, msg: Any) -> None:
        """Pyro's parameter store would make a parameter trainable that the user has frozen."""
        given, store = msg["args"][1:2], pyro.get_param_store()
        if msg["value"] is None and given and isinstance(given[0], Parameter) and not given[0].requires_grad:
            msg["value"] = given[0]
        unconstrained = dict(store.named_parameters()).get(msg["name"])
        if msg["value"] is None and unconstrained is not None and not unconstrained.requires_grad:
            msg["value"] = store[msg["name"]]


def to_tensors(data: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a program's data as tensors of their own memory."""
    return {name: torch.tensor(value) if is_array(value) else value for name, value in data.items()}


# -- what a message says -------------------------------------------------------------------------------


def site_of(message: Any) -> Site:
    """A trace message as a site."""
    name, distribution, role = message["name"], message["fn"], role_of(message)
    shape, event_dim = tuple(message["value"].shape), len(distribution.event_shape)
    plates = tuple(Plate(f.name, f.dim, f.size) for f in message["cond_indep_stack"] if f.vectorized)
    if role == "deterministic":
        return Site(name, role, "", shape, plates=plates)
    base = base_of(distribution)
    if role == "latent" and isinstance(base, dist.Delta):
        raise UnsupportedProgram(
            f"site {name!r}",
            got="a latent Delta, which has no density",
            expected="a distribution with a density",
            fix=f'Write pyro.deterministic("{name}", value).',
        )
    if role != "factor":
        terms = np.broadcast_shapes(tuple(distribution.batch_shape), shape[: len(shape) - event_dim])
        check_log_prob_shape(name, terms, shape, event_dim)
    support = type(support_of(base)).__name__.strip("_").lower()
    return Site(
        name, role, type(base).__name__, shape, event_dim, support, plates, _is_discrete(distribution)
    )


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


def bijection_of(message: Any) -> Transform:
    """From unconstrained space to the support of a latent site.

    Raises:
        UnsupportedProgram: naming the site, if there is none.
    """
    support = support_of(message["fn"])
    try:
        return find_bijection(support)
    except NotImplementedError:
        raise UnsupportedProgram(
            f"site {message['name']!r}",
            got=f"a latent {type(base_of(message['fn'])).__name__} on the support {support}",
            expected="a support that has a bijection from unconstrained space",
            fix="Sample an unconstrained value and compute this one from it, with pyro.deterministic.",
        ) from None


def discrete_of(message: Any) -> Discrete:
    """The values of a discrete latent site.

    Raises:
        UnsupportedProgram: naming the site, if they cannot be listed.
    """
    distribution = message["fn"]
    base = base_of(distribution)
    unlistable = not_finite(message["name"], type(base).__name__)
    if not base.has_enumerate_support:
        raise unlistable
    try:
        values = base.enumerate_support(expand=False)
    except NotImplementedError:
        raise unlistable from None
    values = values.reshape(len(values), *base.event_shape).detach().cpu().numpy()
    events = distribution.event_shape[: distribution.event_dim - base.event_dim]
    return Discrete(all_combinations(values, tuple(events)), tuple(distribution.batch_shape))


def first_value(message: Any) -> torch.Tensor:
    """The first of the values of a discrete latent site, for each of its elements."""
    values = torch.as_tensor(discrete_of(message).values[0])
    return values.expand(message["fn"].shape()).clone()


def _is_discrete(distribution: Any) -> bool:
    support = support_of(distribution)
    return support is not constraints.dependent and bool(support.is_discrete)


# -- a state of its own --------------------------------------------------------------------------------


@contextmanager
def own_state() -> Iterator[None]:
    """Run programs on all rows, in double precision, with a random state and parameters thrown away."""
    default = torch.get_default_dtype()
    with (
        explained("a Pyro program that runs on the given data", "program(**data)"),
        torch.random.fork_rng(devices=[]),
        pyro.get_param_store().scope(),
        _DoublePrecision(),
        read_plates(),
    ):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


class _DoublePrecision(TorchFunctionMode):
    """Lets single-precision tensors of the user, such as a trained network's, meet double-precision ones."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        dtypes = {leaf.dtype for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        if {torch.float32, torch.float64} <= dtypes and not _writes_in_place(func):
            args, kwargs = pytree.tree_map_only(torch.Tensor, _to_double, (args, kwargs))
        return func(*args, **kwargs)


def _to_double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.dtype == torch.float32 else tensor


def _writes_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name.startswith(("__i", "__set")) or (name.endswith("_") and not name.endswith("__"))


class SelectByTensor(TorchFunctionMode):
    """Lets a tensor without dimensions select along one, as a Python number does, without becoming one.

    Torch itself asks such a tensor for its number, and a program with discrete latents cannot be recorded.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            args = _selected(*args)
        return func(*args, **(kwargs or {}))


def _selected(tensor: torch.Tensor, index: Any) -> tuple[torch.Tensor, Any]:
    """The same part of a tensor by an index in which no tensor without dimensions is left."""
    entries = list(index) if isinstance(index, tuple) else [index]
    consuming = [0 if entry is None or entry is Ellipsis else _dimensions(entry) for entry in entries]
    if not any(_is_number(entry) for entry in entries):
        return tensor, index
    before = 0
    for i, entry in enumerate(entries):
        if _is_number(entry):
            after_ellipsis = any(other is Ellipsis for other in entries[:i])
            dim = tensor.ndim - sum(consuming[i:]) if after_ellipsis else before
            number = torch.where(entry < 0, entry + tensor.shape[dim], entry).long()
            tensor, entries[i] = tensor.index_select(dim, number.reshape(1)), 0
        before += consuming[i]
    return tensor, tuple(entries)


def _is_number(entry: Any) -> bool:
    whole = isinstance(entry, torch.Tensor) and entry.ndim == 0
    return whole and not entry.is_floating_point() and entry.dtype != torch.bool


def _dimensions(entry: Any) -> int:
    """How many dimensions of a tensor an entry of an index takes up."""
    return entry.ndim if isinstance(entry, torch.Tensor) and entry.dtype == torch.bool else 1
