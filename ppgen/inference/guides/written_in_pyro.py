"""A guide that a user wrote in Pyro, fitted in torch by the same recipe, and drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ppgen.inference.guides.checks import GuideSite, check_guide, check_inside, no_gradient
from ppgen.inference.guides.named import GuideDraws
from ppgen.inference.guides.objectives import Objective
from ppgen.inference.guides.recipe import CHUNK, Fit, Recipe, describe_ends, fit_guide
from ppgen.inference.guides.whitening import log_density_and_gradient
from ppgen.inference.method import Request
from ppgen.program.density import Density, float64
from ppgen.program.languages.pyro.program import (
    base_of,
    bijection_of,
    own_state,
    role_of,
    support_of,
    to_tensors,
)
from ppgen.program.subsampling import Minibatches

__all__ = ["PyroGuide"]

_COMMON_DRAWS = 256
_DRAWS_A_STEP = 16  # torch pays for every draw
_BATCH = 500
_STEP_SIZE = 0.03


class _Draws(NamedTuple):
    """Draws ``(n, dim)`` in unconstrained space, and both log densities ``(n,)`` in the program's own."""

    z: Tensor
    log_p: Tensor
    log_q: Tensor


class PyroGuide:
    """A guide in Pyro together with its program.

    Args:
        density: the program's density.
        guide: a callable with the program's arguments, with ``pyro.param`` and ``pyro.sample`` statements,
            or a ``PyroModule``.
        path: whether gradients go through the draws; else through log q alone.
        seed: of the parameters' random starts.

    Raises:
        ProgramError: if its sites are not the program's latent ones, in name, shape or support.
        UnsupportedProgram: if gradients are to go through the draws of a site that has none.
    """

    cites: tuple[str, ...] = ("pyro",)

    def __init__(self, density: Density, guide: Callable[..., Any], *, path: bool, seed: int) -> None:
        self.density, self.guide, self.path, self.seed = density, guide, path, seed
        self.data = to_tensors(density.data)
        with self.open() as free:
            trace = poutine.trace(guide).get_trace(**self.data)
            sites = [node for node in trace.nodes.values() if _is_latent(node)]
            check_guide([_site(node) for node in sites], density)
            for node in sites:
                distribution: Any = node["fn"]
                if path and not distribution.has_rsample:
                    raise no_gradient(str(node["name"]), type(base_of(distribution)).__name__)
            self.initial = _flat(free)
            with torch.no_grad():
                check_inside(self.weigh(64).z.numpy(), density)

    @contextmanager
    def open(self, parameters: np.ndarray | None = None) -> Iterator[list[Tensor]]:
        """The guide's unconstrained parameters, with these values, in a parameter store of their own."""
        with own_state(), pyro.validation_enabled(False):
            torch.manual_seed(self.seed)
            with poutine.trace(param_only=True) as capture:
                self.guide(**self.data)
            nodes: list[Any] = list(capture.trace.nodes.values())
            free = [node["value"].unconstrained() for node in nodes]
            before = [tensor.detach().clone() for tensor in free]
            if parameters is not None:
                _write(free, parameters)
            try:
                yield free
            finally:  # a module's parameters are the user's
                with torch.no_grad():
                    for tensor, value in zip(free, before, strict=True):
                        tensor.copy_(value)

    def weigh(self, n: int, *, positions: bool = True) -> _Draws:
        """Draws of the guide with their log densities, vectorised over draws by torch.

        Without ``positions``, which take half of the time, z is empty.
        """
        parts = self.density.latents if positions else ()

        def one(_: Tensor) -> _Draws:
            drawn = poutine.trace(self.guide).get_trace(**self.data)
            if not self.path:
                _detach(drawn)
            scored = poutine.trace(poutine.replay(self.density.program, trace=drawn)).get_trace(**self.data)
            z = [
                bijection_of(scored.nodes[part.name]).inv(drawn.nodes[part.name]["value"]).reshape(-1)
                for part in parts
            ]
            totals = [torch.as_tensor(trace.log_prob_sum()) for trace in (scored, drawn)]
            return _Draws(torch.cat([*z, torch.zeros(0)]), *totals)

        with _FreshNoise():
            return torch.func.vmap(one, randomness="different")(torch.zeros(n))

    def fit(
        self,
        recipe: Recipe,
        samples: int,
        restarts: int,
        seed: int,
        minibatches: Minibatches | None = None,
    ) -> tuple[Mapping[str, np.ndarray], Fit]:
        """Fit the guide; see :func:`ppgen.inference.guides.written.fit_user_guide`.

        A step costs a hundred times what it does in JAX, so that there is no race of step sizes. It reads all
        rows: there are no ``minibatches`` here.
        """
        assert minibatches is None
        recipe = recipe._replace(step_size=recipe.step_size or _STEP_SIZE)
        runs = [
            _Run(self, recipe.objective, min(samples, _DRAWS_A_STEP), seed + restart)
            for restart in range(restarts)
        ]
        best, ends, step_size = fit_guide(runs, recipe)
        end = ends[best]
        fit = Fit(
            guide="the given guide",
            objective=recipe.objective,
            parameters=end.parameters,
            history=end.history,
            step_size=step_size,
            restarts=tuple(each.bound for each in ends),
            converged=end.converged,
            findings=tuple(describe_ends(best, ends, recipe)),
        )
        return {"parameters": end.parameters}, fit

    def draw(self, state: Mapping[str, np.ndarray], request: Request, first: int) -> GuideDraws:
        """Draw from the fitted guide, in batches of the request's seed and the number of draws before."""
        shape = (request.chains, request.draws)
        total = math.prod(shape)
        with self.open(state["parameters"]), torch.no_grad():
            torch.manual_seed(request.seed * 1_000_003 + first + 1)
            parts = [self.weigh(min(_BATCH, total - done)) for done in range(0, total, _BATCH)]
        z, log_p, log_q = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
        with float64():
            lp, _ = log_density_and_gradient(self.density, z)
        log_weights = log_p - log_q
        return GuideDraws(z.reshape(*shape, -1), lp.reshape(shape), (lp - log_weights).reshape(shape))


@dataclass(frozen=True, eq=False)
class _Run:
    """One fit: :class:`ppgen.inference.variational.Run` for guides in Pyro."""

    guide: PyroGuide
    objective: Objective
    samples: int
    seed: int

    def begin(self) -> Any:
        return self.guide.initial, None

    def advance(self, state: Any, step_size: float, first: int) -> tuple[Any, np.ndarray, int]:
        parameters, moments = state
        total, skipped = np.zeros_like(parameters), 0
        with self.guide.open(parameters) as free:
            adam = torch.optim.Adam(free, lr=step_size)
            if moments is not None:
                adam.load_state_dict({**moments, "param_groups": adam.state_dict()["param_groups"]})
            torch.manual_seed(self.seed * 1_000_003 + first)
            for _ in range(CHUNK):
                adam.zero_grad()
                (-self._surrogate()).backward()
                if all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in free):
                    adam.step()
                else:
                    skipped += 1
                total += _flat(free)
            return (_flat(free), adam.state_dict()), total / CHUNK, skipped

    def restart(self, state: Any, parameters: np.ndarray) -> Any:
        return parameters, state[1]

    def log_weights(self, parameters: np.ndarray) -> np.ndarray:
        with self.guide.open(parameters), torch.no_grad():
            torch.manual_seed(-1 - self.seed)
            drawn = self.guide.weigh(_COMMON_DRAWS, positions=False)
        found = (drawn.log_p - drawn.log_q).numpy()
        finite = np.isfinite(found)
        if finite.mean() < 0.9:
            return np.full(len(found), np.nan)
        return np.where(finite, found, found[finite].min())

    def _surrogate(self) -> Tensor:
        """A number whose gradient is that of the objective."""
        size = self.objective.particles
        drawn = self.guide.weigh(max(1, self.samples // size) * size, positions=False)
        log_weights = (drawn.log_p - drawn.log_q).reshape(-1, size)
        if self.objective.name == "wake":
            shares = log_weights.detach().softmax(1)
            return (shares * drawn.log_q.reshape(-1, size)).sum(1).mean()
        if self.objective.name == "elbo":
            return log_weights.mean()
        rest = 1 - self.objective.order
        return ((rest * log_weights).logsumexp(1) / rest).mean()


class _FreshNoise(TorchFunctionMode):
    """Draws noise anew where a distribution fills an empty tensor in place, which torch's vmap refuses."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        draw = _FRESH.get(func)
        return func(*args, **kwargs) if draw is None else draw(*args, **kwargs)


def _fresh_normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return mean + std * torch.randn(tensor.shape, dtype=tensor.dtype)


def _fresh_uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(tensor.shape, dtype=tensor.dtype)


def _fresh_exponential(tensor: Tensor, rate: float = 1.0) -> Tensor:
    return -torch.log1p(-torch.rand(tensor.shape, dtype=tensor.dtype)) / rate


_FRESH: dict[Any, Callable[..., Tensor]] = {
    torch.Tensor.normal_: _fresh_normal,
    torch.Tensor.uniform_: _fresh_uniform,
    torch.Tensor.exponential_: _fresh_exponential,
}


def _flat(free: list[Tensor]) -> np.ndarray:
    parts = [tensor.detach().double().reshape(-1) for tensor in free]
    return torch.cat([*parts, torch.zeros(0, dtype=torch.float64)]).numpy().copy()


def _write(free: list[Tensor], parameters: np.ndarray) -> None:
    sizes = [tensor.numel() for tensor in free]
    with torch.no_grad():
        for tensor, part in zip(free, torch.tensor(parameters).split(sizes), strict=True):
            tensor.copy_(part.reshape(tensor.shape))


def _detach(trace: poutine.Trace) -> None:
    nodes: list[Any] = [node for node in trace.nodes.values() if _is_latent(node)]
    for node in nodes:
        node["value"] = node["value"].detach()


def _is_latent(node: Any) -> bool:
    if node["type"] != "sample" or node["is_observed"] or poutine.util.site_is_subsample(node):
        return False
    return role_of(node) == "latent" and not (node["infer"] or {}).get("is_auxiliary", False)


def _site(node: Any) -> GuideSite:
    base = base_of(node["fn"])
    support = support_of(base)
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    name = "" if isinstance(base, pyro.distributions.Delta) else type(support).__name__.strip("_").lower()
    return GuideSite(node["name"], tuple(node["value"].shape), name)
