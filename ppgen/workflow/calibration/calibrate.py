"""ppgen.workflow.calibrate: simulation-based calibration from simulations to verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ppgen.checks import check_integer, check_number
from ppgen.errors import InvalidArgument
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.method import Method, Request
from ppgen.inference.methods import make_method
from ppgen.inference.posterior import Posterior
from ppgen.program.arguments import check_data
from ppgen.program.family import Program
from ppgen.program.read import read_density
from ppgen.workflow.calibration.fits import Fitter
from ppgen.workflow.calibration.ranks import rank_truths
from ppgen.workflow.calibration.result import Calibration
from ppgen.workflow.calibration.simulations import (
    simulate_from_posterior,
    simulate_from_prior,
)

__all__ = ["calibrate"]

# Fewer say nothing of uniformity.
_FEWEST_SIMULATIONS = 20
_FEWEST_DRAWS = 9


def calibrate(
    program: Program,
    data: Mapping[str, Any] | None = None,
    *,
    method: str | Method = "nuts",
    simulations: int = 200,
    draws: int = 99,
    thin: int = 10,
    tune: int = 500,
    chains: int = 1,
    around: Posterior | None = None,
    simulator: Program | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    engine: str | None = None,
    backend: str = "jax",
    progress: bool = True,
    **options: Any,
) -> Calibration:
    r"""Check a program and its inference by simulation: truths are ordinary draws of their own posteriors.

    Parameters are drawn from the prior, data from the program given them, and the method is run on these data
    as if they were real. If program and method are right, the rank of each true value among L independent
    posterior draws is uniform on 0 … L, over simulations:

    .. math:: \theta \sim p(\theta), \; y \sim p(y \mid \theta), \; \theta_l \sim p(\theta \mid y)
        \;\Rightarrow\; \#\{l : f(\theta_l, y) < f(\theta, y)\} \sim \mathrm{Uniform}\{0, …, L\}

    It holds for every function f, and is looked at for each entry of each latent and deterministic site, and
    for the joint log likelihood, which sees errors that no parameter alone does. Each observed site must
    observe one array of ``data`` as it is; simulated data take its place. All other data stay as they are.

    All data sets are fitted by the same compiled function, many at a time, wherever the method allows it:
    ``Calibration.how`` says so.

    Args:
        program: a NumPyro or Pyro callable.
        data: its keyword arguments. Of those that are observed only shape and dtype matter.
        method: of the fits, as in ``ppgen.infer``; the ranks are those of its draws, without
            correction by importance weights.
        simulations: how many truths; 20 at least.
        draws: L, how many draws of each fit a truth is ranked among.
        thin: each fit draws ``draws * thin``, of which every so many counts, to be nearly independent.
        tune, chains: length of the warm-up, and the number of chains, of each fit. A single chain's halves
            are compared with each other.
        around: a posterior of the same program and data: truths are its draws, and each fit is to the
            observed and the simulated data together, so that inference is checked where it matters for these
            data (posterior SBC). Priors may then be improper.
        simulator: another program with the same arguments and sites, which the truths and the data come from:
            what is found then is how far ``program`` is from it.
        alpha: the probability of a false alarm, all quantities together.
        seed: the same seed gives the same ranks on the same machine.
        engine: ``"numpyro"`` or ``"pyro"``, where it cannot be told from the program.
        backend: ``"native"`` has a Pyro program run by Pyro, where it cannot be lowered.
        progress: show a progress bar.
        **options: the method's own, as in ``ppgen.infer``.

    Returns:
        A :class:`Calibration`: ranks, a test for each quantity, and what is wrong in sentences.

    Raises:
        UnsupportedProgram: if a prior is improper or the program has factor sites (naming the site), if what
            is observed is no argument, or if the prior or the distribution of the data reads the data.
        ProgramError: if the program is wrong, or observes nothing.
        DataError: if an observed argument is no array, or simulated data are not finite.
        InvalidArgument, UnknownName: if an argument, option or method is not possible.

    References:
        Talts, Betancourt, Simpson, Vehtari and Gelman, arXiv:1804.06788; Modrák et al., arXiv:2211.02383;
        Säilynoja, Bürkner and Vehtari, arXiv:2103.10522; Säilynoja, Schmitt, Bürkner and Vehtari,
        *Posterior SBC*, arXiv:2502.03279.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0).expand([3]).to_event(1), obs=y)
        >>> checked = calibrate(program, {"y": np.zeros(3)}, method="laplace", progress=False)
        >>> checked.ok, checked.names, checked.ranks.shape
        (True, ('mu', 'log likelihood'), (200, 2))
    """
    chosen = make_method(method, options)
    _check_shareable(chosen)
    _check_counts(simulations=simulations, draws=draws, thin=thin, tune=tune, chains=chains, seed=seed)
    check_number("alpha", alpha, above=0.0, below=1.0, example=0.05)
    begin = time.perf_counter()
    use_persistent_cache()
    request = Request(math.ceil(draws / chains) * thin, tune, chains, seed, progress)
    if around is not None:
        _check_around(around, program, data, simulator, chosen)
        simulated = simulate_from_posterior(around, simulations, seed)
    else:
        checked = check_data(data)
        density = read_density(program, checked, engine=engine, backend=backend)
        other = (
            None if simulator is None else read_density(simulator, checked, engine=engine, backend=backend)
        )
        simulated = simulate_from_prior(density, simulations, seed, backend, other)
    fitter = Fitter(simulated, chosen, request)
    ranked = rank_truths(fitter, draws, thin)
    return Calibration(
        ranks=ranked.ranks,
        names=ranked.names,
        draws=draws,
        alpha=alpha,
        method=chosen.name,
        around_data=around is not None,
        how=fitter.batching.how,
        batched=fitter.batching.size > 1,
        fit_findings=ranked.findings,
        truths=ranked.truths,
        data=simulated.data,
        seed=seed,
        seconds=time.perf_counter() - begin,
    )


def _check_counts(*, simulations: int, draws: int, thin: int, tune: int, chains: int, seed: int) -> None:
    check_integer("simulations", simulations, least=_FEWEST_SIMULATIONS, example=200)
    check_integer("draws", draws, least=_FEWEST_DRAWS, example=99)
    check_integer("thin", thin, example=10)
    check_integer("tune", tune, least=0, example=500)
    check_integer("chains", chains)
    check_integer("seed", seed, least=0)


def _check_shareable(method: Method) -> None:
    """Refuse options that name one file, or keep what nobody reads."""
    for name in ("checkpoint", "keep_warmup"):
        if getattr(method, name, None):
            raise InvalidArgument(
                name,
                got=repr(getattr(method, name)),
                expected="options that many fits can share",
                fix=f"Leave {name}= out.",
            )


def _check_around(
    around: Posterior,
    program: Program,
    data: Mapping[str, Any] | None,
    simulator: Program | None,
    method: Method,
) -> None:
    if simulator is not None:
        raise InvalidArgument(
            "simulator",
            got="a simulator together with around=",
            expected="one of the two: truths from the simulator's prior, or from the posterior",
            fix="Leave out one of them.",
        )
    if around.density.program is not program:
        raise InvalidArgument(
            "around",
            got="a posterior of another program",
            expected="a posterior of the program that is calibrated",
            fix="Write calibrate(program, around=ppgen.infer(program, data)).",
        )
    if data is not None:
        given = check_data(data)
        same = given.keys() == around.data.keys() and all(
            np.array_equal(value, around.data[name]) for name, value in given.items()
        )
        if not same:
            raise InvalidArgument(
                "data",
                got="other data than those of the posterior around=",
                expected="the same, or none",
                fix="Leave data out.",
            )
    if callable(getattr(method, "guide", None)):
        raise InvalidArgument(
            "guide",
            got="a guide of your own, which knows the observed data only",
            expected="the name of a guide, where fits are to two data sets together",
            fix='Write guide="full_rank", or leave out around=.',
        )
