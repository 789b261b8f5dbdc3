"""The interface of posterior methods: they draw from a density, and report on the draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ppgen.errors import InferenceError
from ppgen.findings import Finding
from ppgen.inference.diagnostics import Diagnostics, diagnose_chains, diagnose_draws
from ppgen.inference.pointwise import flatten_draws, unflatten_draws
from ppgen.inference.weights import LogEvidence, Weights, khat_threshold
from ppgen.program.density import Density

__all__ = ["Drawn", "Extendable", "Method", "Request"]


class Request(NamedTuple):
    """The request to a method.

    Attributes:
        draws: draws per chain, after warm-up.
        tune: length of the warm-up, for methods that have one.
        chains: number of chains; methods with independent draws only split them.
        seed: the same seed gives the same draws on the same machine.
        progress: whether to show a progress bar.
    """

    draws: int
    tune: int
    chains: int
    seed: int
    progress: bool


@dataclass(frozen=True, eq=False)
class Drawn:
    """A method's draws, and what it reports about them.

    Attributes:
        positions: ``(chain, draw, dim)``, in unconstrained space.
        stats: the method's own statistics ``(chain, draw)`` under ArviZ's names, ``lp`` among them: the log
            density at each position, which is computed where a method leaves it out.
        log_weights: ``(chain, draw)``: log π(z) − log q(z) where draws come from another density q than
            the posterior, zero where they have been resampled by such weights; else ``None``.
        log_evidence: the log marginal likelihood, for methods that estimate it.
        khat: the Pareto shape of the importance weights, for methods that have them.
        ess: how many independent draws these are worth, where weights or resampling make that fewer
            than there are; ``None`` for Markov chains and for independent draws.
        findings: problems that the method itself found.
        how: what the method did, if its options do not say.
        warmup: the draws of the warm-up, if they were to be kept.
        state: the arrays needed to resume.
        fit: what was fitted, such as a guide with its history.
        by: the method that drew, if the requested one chose among others.
        cites: keys of :mod:`ppgen.inference.citations`.
    """

    positions: np.ndarray
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)
    log_weights: np.ndarray | None = None
    log_evidence: LogEvidence | None = None
    khat: float | None = None
    ess: float | None = None
    findings: tuple[Finding, ...] = ()
    how: str = ""
    warmup: Drawn | None = None
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    fit: Any = None
    by: Method | None = None
    cites: tuple[str, ...] = ()

    @property
    def weights(self) -> Weights | None:
        """The importance weights ``(chain * draw,)``; ``None`` if the draws are unweighted."""
        if self.log_weights is None or np.ptp(self.log_weights) == 0:
            return None
        return Weights(self.log_weights.ravel())

    def corrected(self, seed: int) -> Drawn:
        """The same draws, resampled by their weights; unchanged, if unweighted.

        Raises:
            InferenceError: if the Pareto shape of the weights does not allow it.
        """
        weights = self.weights
        if weights is None:
            return self
        if not weights.usable:
            largest = khat_threshold(len(weights.raw))
            raise InferenceError(
                "corrected",
                got=f"importance weights with a Pareto k-hat of {weights.khat:.2f}",
                expected=f"at most {largest:.2f}, or they cannot be trusted",
                fix="Take a richer guide (guide='nsf'), or method='nuts'.",
            )
        shape = self.positions.shape[:2]
        chosen = weights.resample(int(np.prod(shape)), seed)

        def pick(values: np.ndarray) -> np.ndarray:
            return unflatten_draws(flatten_draws(values)[chosen], shape)

        return replace(
            self,
            positions=pick(self.positions),
            stats={name: pick(value) for name, value in self.stats.items()},
            log_weights=np.zeros(shape),
            khat=weights.khat,
            ess=weights.ess,
        )

    def followed_by(self, more: Drawn) -> Drawn:
        """These draws with more of the same chains after them."""
        stats = {name: np.concatenate([self.stats[name], more.stats[name]], 1) for name in self.stats}
        weights = None
        if self.log_weights is not None and more.log_weights is not None:
            weights = np.concatenate([self.log_weights, more.log_weights], 1)
        positions = np.concatenate([self.positions, more.positions], 1)
        return replace(
            self,
            positions=positions,
            stats=stats,
            log_weights=weights,
            state=more.state,
            khat=more.khat,
            ess=more.ess,
            log_evidence=more.log_evidence,
            findings=tuple(dict.fromkeys((*self.findings, *more.findings))),
        )


@runtime_checkable
class Method(Protocol):
    """A posterior method with its options: a frozen dataclass, whose fields are the options.

    Your own is a class with a ``name`` and a ``draw``; as a subclass of this protocol it also has a
    ``diagnose``. An instance of it is what ``ppgen.infer(method=...)`` takes, without registration.

    Example:
        >>> import numpyro, numpyro.distributions as dist, ppgen
        >>> from ppgen.inference.log_densities import log_densities
        >>> class Independence(Method):
        ...     "Draws from the prior, with weights."
        ...     name = "independence"
        ...
        ...     def draw(self, density, request):
        ...         z = density.draw_prior(request.seed, request.chains * request.draws)
        ...         found = log_densities(density, z)
        ...         shape = request.chains, request.draws
        ...         return Drawn(
        ...             z.reshape(*shape, density.dim),
        ...             log_weights=(found.log_joint - found.log_base).reshape(shape),
        ...         )
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 3.0), obs=y)
        >>> post = ppgen.infer(program, {"y": 1.0}, Independence(), progress=False)      # N(0.1, 0.95)
        >>> print(f"{post.corrected().draws['mu'].mean():.1f}")
        0.1
    """

    name: ClassVar[str]

    def draw(self, density: Density, request: Request) -> Drawn:
        """Draw ``request.draws`` positions in each of ``request.chains`` chains."""
        ...

    def diagnose(self, draws: Mapping[str, np.ndarray], drawn: Drawn) -> Diagnostics:
        """Diagnose the drawn latent sites ``(chain, draw, *event)``.

        Draws with importance weights are judged by these, others as Markov chains.
        """
        if drawn.log_weights is None:
            return diagnose_chains(draws, drawn.stats, findings=drawn.findings)
        return diagnose_draws(
            draws, log_weights=drawn.log_weights, khat=drawn.khat, ess=drawn.ess, findings=drawn.findings
        )


@runtime_checkable
class Extendable(Protocol):
    """A method that can resume where it stopped."""

    def extend(self, density: Density, request: Request, drawn: Drawn) -> Drawn:
        """Draw ``request.draws`` more in each chain, after those that were ``drawn``."""
        ...
