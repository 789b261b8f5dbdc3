r"""Bounds on the log density of a row, read off the traces of a Pyro program and its guide.

For a program :math:`p(x, z)` and a guide :math:`q(z \mid x)` everything here is a function of the log
weights :math:`\log w_{si} = \log p(x_i, z_{si}) - \log q(z_{si} \mid x_i)`, so it holds for any pair.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import Message
from torch import Tensor

from ppgen.errors import ProgramError
from ppgen.program.family import Program

__all__ = [
    "PerRow",
    "RowBounds",
    "RowTensor",
    "elbo",
    "importance_weighted",
    "log_density",
    "log_weights",
    "renyi",
    "row_bounds",
    "wake_sleep",
]

RowTensor = Shaped[Tensor, "n *shape"]
PerRow = Float[Tensor, "n"]
Label = Int[Tensor, " n"] | None


def elbo(model: Program, guide: Program, x: RowTensor, samples: int = 1, *, label: Label = None) -> PerRow:
    r"""The evidence lower bound of each row.

    .. math:: \mathrm{ELBO}(x) = \mathbb{E}_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)] \le \log p(x)

    Args:
        model, guide: Pyro programs whose first argument is the minibatch.
        x: rows ``(n, *shape)``.
        samples: how many draws of z the expectation is averaged over.
        label: the class of each row ``(n,)``, for programs that take it as a second argument, ``label=``.

    Returns:
        ``(n,)`` nats, differentiable.

    Raises:
        ProgramError: if a site's log density is not one number a row.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.

    Example:
        >>> import pyro, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("rows", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def posterior(x):
        ...     with pyro.plate("rows", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> elbo(model, posterior, torch.tensor([0.0, 2.0]))  # the guide is right: log N(x | 0, 2)
        tensor([-1.2655, -2.2655])
    """
    return log_weights(model, guide, x, samples, label=label).mean(0)


def importance_weighted(
    model: Program, guide: Program, x: RowTensor, samples: int, *, label: Label = None
) -> PerRow:
    r"""The importance-weighted bound of each row, tighter than the ELBO.

    .. math:: \log \frac1S \sum_{s=1}^S w_s(x) \quad\text{with}\quad z_s \sim q(z \mid x)

    Its expectation grows with S, and reaches :math:`\log p(x)` in the limit.

    Args, Returns and Raises are those of :func:`elbo`.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """
    return log_weights(model, guide, x, samples, label=label).logsumexp(0) - math.log(samples)


def renyi(
    model: Program, guide: Program, x: RowTensor, samples: int, alpha: float, *, label: Label = None
) -> PerRow:
    r"""The variational Rényi bound of each row.

    .. math:: \frac{1}{1 - \alpha} \log \frac1S \sum_{s=1}^S w_s(x)^{1 - \alpha}

    The ELBO is its limit at :math:`\alpha = 1`, the importance-weighted bound its value at 0.

    Args:
        alpha: the order, in [0, 1) for a lower bound; the others are those of :func:`elbo`.

    References:
        Li and Turner, *Rényi Divergence Variational Inference*, 2016, arXiv:1602.02311.
    """
    log_weight = log_weights(model, guide, x, samples, label=label)
    return (((1 - alpha) * log_weight).logsumexp(0) - math.log(samples)) / (1 - alpha)


def wake_sleep(model: Program, guide: Program, x: RowTensor, samples: int, *, label: Label = None) -> PerRow:
    r"""The importance-weighted bound of each row, with the gradients of reweighted wake-sleep.

    .. math:: \sum_s \bar w_s \, \nabla \big( \log p(x, z_s) + \log q(z_s \mid x) \big), \qquad
        \bar w_s = w_s \Big/ \sum_r w_r

    with draws and weights held fixed: the sites of the guide need no reparameterisation.

    Args, Returns and Raises are those of :func:`elbo`.

    References:
        Bornschein and Bengio, *Reweighted Wake-Sleep*, 2014, arXiv:1406.2751.
    """
    log_p, log_q = _log_joints(model, _fixed_draws(guide), x, samples, label)
    log_weight = (log_p - log_q).detach()
    bound = log_weight.logsumexp(0) - math.log(samples)
    surrogate = (log_weight.softmax(0) * (log_p + log_q)).sum(0)
    return bound + surrogate - surrogate.detach()


def log_weights(
    model: Program, guide: Program, x: RowTensor, samples: int = 1, *, label: Label = None
) -> Float[Tensor, "samples n"]:
    """The log weights ``(samples, n)`` of each row, from one pass over the rows repeated.

    Sites under ``poutine.scale`` and ``poutine.mask`` count as they count for Pyro's own SVI.
    """
    log_p, log_q = _log_joints(model, guide, x, samples, label)
    return log_p - log_q


def _log_joints(
    model: Program, guide: Program, x: Tensor, samples: int, label: Label
) -> tuple[Tensor, Tensor]:
    """log p(x, z) and log q(z | x), each ``(samples, n)``, at draws of the guide."""
    repeated = x.repeat(samples, *(1,) * (x.ndim - 1))  # (samples * n, *shape)
    context = {} if label is None else {"label": label.repeat(samples)}
    drawn = poutine.trace(guide).get_trace(repeated, **context)
    scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(repeated, **context)
    log_p, log_q = _row_log_prob(scored, repeated), _row_log_prob(drawn, repeated)
    return log_p.reshape(samples, len(x)), log_q.reshape(samples, len(x))


class _HoldDraws(Messenger):
    """Draws without a gradient. What the trace keeps is the draw as it was made, so it is made so here."""

    def _pyro_sample(self, msg: Message) -> None:
        if not msg["is_observed"] and msg["value"] is None:
            with torch.no_grad():
                msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])
            msg["done"] = True


def _fixed_draws(guide: Program) -> Program:
    def held(*args: Any, **kwargs: Any) -> Any:
        with _HoldDraws():
            return guide(*args, **kwargs)

    return held


def log_density(model: Program, x: RowTensor, *, label: Label = None) -> PerRow:
    """The exact log density ``(n,)`` of each row under a program that samples nothing but the rows."""
    context = {} if label is None else {"label": label}
    return _row_log_prob(poutine.trace(model).get_trace(x, **context), x)


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Importance-weighted bounds ``(n,)`` in nats with their Monte Carlo standard errors ``(n,)``."""

    values: np.ndarray
    stderr: np.ndarray


def row_bounds(
    model: Program, guide: Program, x: RowTensor, *, samples: int, seed: int, label: Label = None
) -> RowBounds:
    r"""The importance-weighted bound of each row, with noise that is the row's own.

    The noise is seeded by ``seed`` and by what the row holds, so that a row's bound does not depend on
    the rows beside it, and that errors of different rows are independent. The standard error is the delta
    method's, :math:`\mathrm{sd}(w) / (\bar w \sqrt S)`; with one sample it is unknown (NaN).

    Args:
        model, guide: Pyro programs whose first argument is the minibatch.
        x: rows ``(n, *shape)``.
        samples: draws of z for each row; 1 gives the ELBO.
        seed: seed of the draws; PyTorch's own random state is left as it was.
        label: the class of each row ``(n,)``, for programs that take it.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        weights = torch.cat(list(_row_weights(model, guide, x, samples, seed, label)), 1)  # (samples, n)
    values = weights.logsumexp(0) - math.log(samples)
    relative = (weights - values).exp()  # w / mean(w)
    spread = relative.std(0, correction=1) if samples > 1 else torch.full_like(values, math.nan)
    return RowBounds(values.cpu().numpy(), (spread / math.sqrt(samples)).cpu().numpy())


def _row_weights(
    model: Program, guide: Program, x: RowTensor, samples: int, seed: int, label: Label
) -> Iterator[Tensor]:
    for i, row in enumerate(x.split(1)):
        torch.manual_seed(zlib.crc32(row.cpu().numpy().tobytes(), seed))
        own = None if label is None else label[i : i + 1]
        yield log_weights(model, guide, row, samples, label=own).double()  # (samples, 1)


def _row_log_prob(trace: poutine.Trace, x: RowTensor) -> PerRow:
    trace.compute_log_prob(site_filter=_counts)
    total = torch.zeros(len(x), device=x.device)
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and _counts(name, site):
            _check_one_number_a_row(name, tuple(site["log_prob"].shape), len(x))
            total = total + site["log_prob"]
    return total


def _counts(name: str, site: Message) -> bool:
    # pyro.deterministic records its value as a sample site, and a plate its subsample.
    return not (site["infer"] or {}).get("_deterministic") and not poutine.util.site_is_subsample(site)


def _check_one_number_a_row(name: str, shape: tuple[int, ...], n: int) -> None:
    if shape == (n,):
        return
    if shape == ():
        fix = f"Put {name!r} into pyro.plate('rows', len(x)); ppgen.infer fits what all rows share."
    elif len(shape) > 1 and shape[-1] != n:
        fix = f"Write .to_event({len(shape) - 1}) after the distribution of {name!r}."
    else:
        fix = f"Check the shapes of the parameters of {name!r}: one of them broadcasts against the rows."
    raise ProgramError(
        f"site {name!r}",
        got=f"a log density of shape {shape}",
        expected=f"({n},), one number a row",
        fix=fix,
    )
