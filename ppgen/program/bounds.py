r"""Bounds on the log density of a row, of a program in any language and its guide.

For a program :math:`p(x, z)` and a guide :math:`q(z \mid x)` every bound here is a function of
:math:`\log p(x_i, z_{si})` and :math:`\log q(z_{si} \mid x_i)` alone, at draws
:math:`z_{si} \sim q(z \mid x_i)`; their difference is the log weight :math:`\log w_{si}`.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppgen.errors import ProgramError
from ppgen.kernels.weights import log_mean_weight
from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, RowPrograms, RowTrace

__all__ = [
    "LogJoints",
    "RowBounds",
    "elbo",
    "importance_weighted",
    "log_density",
    "log_joints",
    "renyi",
    "row_bounds",
    "wake_sleep",
]


@dataclass(frozen=True, eq=False)
class LogJoints:
    r"""Log densities at draws of the guide, differentiable, in the arrays of one language.

    Attributes:
        log_p: :math:`\log p(x, z)`, ``(samples, n)``.
        log_q: :math:`\log q(z \mid x)`, ``(samples, n)``.
        rows: what computes with these arrays.
    """

    log_p: Any
    log_q: Any
    rows: RowPrograms

    @property
    def log_weights(self) -> Any:
        """``(samples, n)``."""
        return self.log_p - self.log_q


def log_joints(
    rows: RowPrograms,
    model: Program,
    guide: Program,
    batch: Batch,
    samples: int = 1,
    *,
    fixed_draws: bool = False,
) -> LogJoints:
    """The log densities of program and guide at draws of the guide, from one pass over the rows repeated.

    Args:
        rows: how their language runs programs on rows.
        model, guide: programs whose first argument is the minibatch.
        batch: rows ``(n, *shape)``, perhaps with the class of each.
        samples: how many draws for each row.
        fixed_draws: whether draws are held constant, so that no gradient runs through them.

    Raises:
        ProgramError: if a site's log density is not one number a row.
    """
    n = len(batch.x)
    guide_key, model_key = rows.split(batch.key)
    label = None if batch.label is None else rows.repeat(batch.label, samples)
    repeated = Batch(rows.repeat(batch.x, samples), label, guide_key)  # samples * n rows
    drawn = rows.run(guide, repeated, fixed_draws=fixed_draws)
    scored = rows.run(model, repeated._replace(key=model_key), lambda name, _: drawn.value(name))
    log_p, log_q = (_row_log_prob(rows, run, samples * n).reshape(samples, n) for run in (scored, drawn))
    return LogJoints(log_p, log_q, rows)


def elbo(joints: LogJoints) -> Any:
    r"""The evidence lower bound of each row ``(n,)``.

    .. math:: \mathrm{ELBO}(x) = \mathbb{E}_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)] \le \log p(x)

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.

    Example:
        >>> import torch, pyro, pyro.distributions as dist
        >>> from ppgen.program.languages.language import find_language
        >>> def model(x):
        ...     with pyro.plate("rows", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def posterior(x):
        ...     with pyro.plate("rows", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.5**0.5))
        >>> batch = Batch(torch.tensor([0.0, 2.0]))
        >>> elbo(log_joints(find_language("pyro").rows, model, posterior, batch))  # exact: log N(x | 0, 2)
        tensor([-1.2655, -2.2655])
    """
    return joints.log_weights.mean(0)


def importance_weighted(joints: LogJoints) -> Any:
    r"""The importance-weighted bound of each row ``(n,)``, tighter than the ELBO.

    .. math:: \log \frac1S \sum_{s=1}^S w_s(x) \quad\text{with}\quad z_s \sim q(z \mid x)

    Its expectation grows with S, and reaches :math:`\log p(x)` in the limit.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """
    return renyi(joints, 0.0)


def renyi(joints: LogJoints, alpha: float) -> Any:
    r"""The variational Rényi bound of each row ``(n,)``.

    .. math:: \frac{1}{1 - \alpha} \log \frac1S \sum_{s=1}^S w_s(x)^{1 - \alpha}

    The ELBO is its limit at :math:`\alpha = 1`, the importance-weighted bound its value at 0.

    Args:
        joints: log densities of program and guide.
        alpha: the order, in [0, 1) for a lower bound.

    References:
        Li and Turner, *Rényi Divergence Variational Inference*, 2016, arXiv:1602.02311.
    """
    total = joints.rows.logsumexp((1 - alpha) * joints.log_weights)
    return (total - math.log(len(joints.log_p))) / (1 - alpha)


def wake_sleep(joints: LogJoints) -> Any:
    r"""The importance-weighted bound of each row ``(n,)``, with the gradients of reweighted wake-sleep.

    .. math:: \sum_s \bar w_s \, \nabla \big( \log p(x, z_s) + \log q(z_s \mid x) \big), \qquad
        \bar w_s = w_s \Big/ \sum_r w_r

    with weights held constant. The draws must be fixed, too: the sites of the guide need no
    reparameterisation.

    References:
        Bornschein and Bengio, *Reweighted Wake-Sleep*, 2014, arXiv:1406.2751.
    """
    constant = joints.rows.stop_gradient
    shares = joints.rows.softmax(constant(joints.log_weights))
    surrogate = (shares * (joints.log_p + joints.log_q)).sum(0)
    return constant(importance_weighted(joints)) + surrogate - constant(surrogate)


def log_density(rows: RowPrograms, model: Program, batch: Batch) -> Any:
    """The log density ``(n,)`` of each row under a program that samples nothing but the rows.

    With a ``factor`` in it that is an unnormalised log density.
    """
    return _row_log_prob(rows, rows.run(model, batch), len(batch.x))


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Importance-weighted bounds ``(n,)`` in nats with their Monte Carlo standard errors ``(n,)``."""

    values: np.ndarray
    stderr: np.ndarray


def row_bounds(
    rows: RowPrograms, model: Program, guide: Program, x: Any, *, samples: int, seed: int, label: Any = None
) -> RowBounds:
    r"""The importance-weighted bound of each row, with noise that is the row's own.

    The noise is seeded by ``seed`` and by what the row holds, so that a row's bound does not depend on
    the rows next to it, and that errors of different rows are independent. The standard error is the delta
    method's, :math:`\mathrm{sd}(w) / (\bar w \sqrt S)`; with one sample it is unknown (NaN).

    Args:
        rows: how their language runs programs on rows.
        model, guide: programs whose first argument is the minibatch.
        x: rows ``(n, *shape)`` in the language's arrays.
        samples: draws of z for each row; 1 gives the ELBO.
        seed: seed of the draws; no random state of the user's changes.
        label: the class of each row ``(n,)``, for programs that take it.
    """

    def log_weights(i: int) -> np.ndarray:
        row, own = x[i : i + 1], None if label is None else label[i : i + 1]
        with rows.seeded(zlib.crc32(rows.as_numpy(row).tobytes(), seed)) as key:
            joints = log_joints(rows, model, guide, Batch(row, own, key), samples)
        return rows.as_numpy(joints.log_weights).astype(np.float64)  # (samples, 1)

    weights = np.concatenate([log_weights(i) for i in range(len(x))], axis=1)
    if samples == 1:
        return RowBounds(weights[0], np.full(len(x), np.nan))
    return RowBounds(*log_mean_weight(weights.T))


def _row_log_prob(rows: RowPrograms, run: RowTrace, n: int) -> Any:
    log_probs = {name: site.log_prob() for name, site in run.sites.items()}
    for name, log_prob in log_probs.items():
        _check_one_number_a_row(name, tuple(log_prob.shape), n)
    return sum(log_probs.values()) if log_probs else rows.as_array(np.zeros(n))


def _check_one_number_a_row(name: str, shape: tuple[int, ...], n: int) -> None:
    if shape == (n,):
        return
    if shape == ():
        fix = f"Put {name!r} into a plate, plate('rows', len(x)); ppgen.infer fits what all rows share."
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
