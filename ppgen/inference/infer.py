"""``ppgen.infer``: draw from the posterior of a program."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ppgen.checks import check_integer
from ppgen.inference.compilation import use_persistent_cache
from ppgen.inference.method import Method, Request
from ppgen.inference.methods import make_method
from ppgen.inference.posterior import Posterior, make_posterior
from ppgen.program.arguments import check_data
from ppgen.program.family import Program
from ppgen.program.read import read_density

__all__ = ["infer"]

_MOST_CHAINS = 1000  # more add nothing: longer ones do


def infer(
    program: Program,
    data: Mapping[str, Any] | None = None,
    method: str | Method = "nuts",
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int = 0,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    engine: str | None = None,
    backend: str = "jax",
    progress: bool = True,
    **options: Any,
) -> Posterior:
    r"""Draw from the posterior of a program.

    The program is read once as an unconstrained log density
    :math:`\log \pi(z) = \log p(y, x(z)) + \log |\det \partial x / \partial z|`, in double precision, and
    the method draws from that.

    Args:
        program: a NumPyro or Pyro callable with ``sample`` statements.
        data: its keyword arguments; arrays, lists and pandas columns become arrays.
        method: ``"nuts"``, the No-U-Turn sampler; ``"svi"``, a guide fitted by variational inference;
            ``"laplace"``, ``"pathfinder"``, ``"importance"``, ``"rejection"``, ``"smc"``, ``"ais"``; or
            ``"auto"``, the cheapest method that passes its own diagnostics. Or an object: one of these
            with its options, ``ppgen.inference.NUTS(target_accept=0.95)``, or your own
            :class:`~ppgen.inference.Method`.
        draws, tune, chains: draws per chain after warm-up, length of the warm-up, number of chains.
        seed: the same seed gives the same draws on the same machine.
        coords, dims: names for the entries of sites, as ArviZ takes them; plates give theirs.
        engine: ``"numpyro"`` or ``"pyro"``, if it cannot be detected from the program.
        backend: ``"native"`` lets Pyro run a Pyro program at every step, if it cannot be lowered.
        progress: show a progress bar.
        **options: options of a method given by name, the fields of its class:
            :class:`ppgen.inference.NUTS`, :class:`ppgen.inference.SVI` and so on.

    Returns:
        A :class:`Posterior`. Problems found by its diagnostics are also issued as an
        :class:`~ppgen.errors.InferenceWarning`.

    Raises:
        ProgramError, UnsupportedProgram: if the program is wrong or cannot be fitted.
        DataError: if the data is empty, not finite, or outside a site's support.
        InvalidArgument, UnknownName: if an argument, option or method is invalid.
        InferenceError: if the log density is not finite anywhere near 0.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        >>> post = infer(program, {"y": [1.0, 2.0, 3.0]}, progress=False)   # exact: N(1.5, 0.5)
        >>> print(f"{post.draws['mu'].mean():.1f} ± {post.draws['mu'].std():.1f}")
        1.5 ± 0.5
    """
    settings = make_method(method, options)
    _check_counts(draws=draws, tune=tune, chains=chains, seed=seed)
    request = Request(draws, tune, chains, seed, progress)
    begin = time.perf_counter()
    use_persistent_cache()
    checked = check_data(data)
    density = read_density(program, checked, engine=engine, backend=backend)
    drawn = settings.draw(density, request)
    seconds = time.perf_counter() - begin
    posterior = make_posterior(density, checked, settings, request, drawn, seconds, coords=coords, dims=dims)
    posterior.warn()
    return posterior


def _check_counts(*, draws: int, tune: int, chains: int, seed: int) -> None:
    check_integer("draws", draws, least=4, example=1000)
    check_integer("tune", tune, least=0, example=1000)
    check_integer("chains", chains, most=_MOST_CHAINS, example=4)
    check_integer("seed", seed, least=0)
