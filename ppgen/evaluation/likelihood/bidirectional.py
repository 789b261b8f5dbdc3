"""Bidirectional Monte Carlo: how tight annealing is, on examples simulated from the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from ppgen.checks import check_integer
from ppgen.errors import InvalidArgument
from ppgen.evaluation.likelihood.annealed import AnnealingSettings, annealed_rows, by_class
from ppgen.evaluation.likelihood.annealing import Report, anneal
from ppgen.evaluation.likelihood.latent_rows import LatentRows
from ppgen.evaluation.likelihood.subject import Start, Subject, check_label, read_subject
from ppgen.inference.compilation import use_persistent_cache
from ppgen.kernels.monte_carlo import standard_error
from ppgen.kernels.weights import log_mean_weight
from ppgen.program.family import Family, Program
from ppgen.program.likelihood import Likelihood
from ppgen.style.bar import ProgressBar

__all__ = ["Sandwich", "bdmc"]


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Lower and upper bounds on the log densities of the same simulated examples.

    Attributes:
        rows: the examples ``(n, *shape)``.
        label: the class of each example ``(n,)``, or ``None``.
        lower: by annealing from the start: at most log p, in expectation.
        upper: by annealing back from the exact latent vectors: at least log p, in expectation.

    Example:
        >>> made = np.zeros((3, 1))
        >>> low = Likelihood(np.array([-1.1, -2.0, -3.2]), "lower_bound", "continuous", 1, "AIS")
        >>> high = Likelihood(np.array([-1.0, -1.9, -3.0]), "upper_bound", "continuous", 1, "reverse AIS")
        >>> print(Sandwich(made, None, low, high).reading)
        On 3 rows simulated from the model, lower and upper bound agree within 0.20 nats: ...
    """

    rows: np.ndarray
    label: np.ndarray | None
    lower: Likelihood
    upper: Likelihood

    @property
    def gaps(self) -> np.ndarray:
        """Upper minus lower bound of each example ``(n,)``, in nats; negative only by chance."""
        return self.upper.values - self.lower.values

    @property
    def gap(self) -> float:
        """The mean gap in nats: annealing's bias on such examples is at most this, in expectation."""
        return float(self.gaps.mean())

    @property
    def gap_stderr(self) -> float:
        """The standard error of :attr:`gap`, over examples and noise."""
        return float(standard_error(self.gaps))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """A normal confidence interval of :attr:`gap`."""
        half = float(ndtri(0.5 + level / 2)) * self.gap_stderr
        return self.gap - half, self.gap + half

    @property
    def reading(self) -> str:
        """The gap, as a sentence."""
        most = max(abs(end) for end in self.interval())
        within = max(math.ceil(most * 10) / 10, 0.1)
        return (
            f"On {len(self.gaps)} rows simulated from the model, lower and upper bound agree within "
            f"{within:.2f} nats: their mean gap is {self.gap:.2f} ± {self.gap_stderr:.2f}."
        )

    def to_json(self) -> dict[str, Any]:
        """The gap and both means, as plain numbers."""
        return {
            "n": len(self.gaps),
            "lower": self.lower.mean(),
            "upper": self.upper.mean(),
            "gap": self.gap,
            "gap_stderr": self.gap_stderr,
            "interval": list(self.interval()),
            "how": self.lower.how,
        }

    def __str__(self) -> str:
        return self.reading

    __repr__ = __str__


def bdmc(
    model: Any,
    n: int = 16,
    *,
    like: Any = None,
    guide: Program | None = None,
    label: Any = None,
    start: Start | None = None,
    steps: int = 500,
    chains: int = 16,
    leapfrog: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> Sandwich:
    r"""Bound the log densities of examples simulated from the model, from both sides.

    A simulated example comes with the latent vector that generated it, an exact draw from the posterior.
    Chains that run from there back to the start of the path have weights with
    :math:`\mathbb{E}[w'] = 1 / p(x)`:

    .. math:: \mathbb{E}\Big[\log \frac1C \sum_c w_c\Big] \;\le\; \log p(x) \;\le\;
        \mathbb{E}\Big[-\log \frac1C \sum_c w'_c\Big]

    The gap measures how tight :func:`annealed_likelihood` with the same settings is on the model's own
    samples; on real examples, which a poor model would not generate, it may be looser.

    Args:
        model, guide, start, steps, chains, leapfrog, seed, progress: as for :func:`annealed_likelihood`.
        n: how many examples to simulate.
        like: a few examples ``(m, *shape)`` that show the shape and dtype of a program's data; a family
            needs none.
        label: the class of each example, or one for all. By default a family with classes draws them; either
            way the bounds are on the density given the class.

    Raises:
        UnsupportedProgram: if the program observes anything other than ``x``, and as for
            :func:`annealed_likelihood`.

    References:
        Grosse, Ghahramani and Adams, *Sandwiching the marginal likelihood using bidirectional Monte Carlo*,
        2015, arXiv:1511.02543; Wu et al. 2016, arXiv:1611.04273.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def program(x):
        ...     with numpyro.plate("rows", len(x)):
        ...         z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        ...         numpyro.sample("x", dist.Normal(z[:, None], 1.0).to_event(1), obs=x)
        >>> sandwich = bdmc(program, 8, like=np.zeros((1, 1)), steps=200, progress=False)
        >>> -0.05 < sandwich.gap < 0.1
        True
    """
    n = check_integer("n", n, least=2)
    example = _example(model, like)
    subject = read_subject(model, guide, example)
    example = subject.rows(example)[0]
    settings = AnnealingSettings.checked(subject, start, steps, chains, leapfrog, seed)
    labels = _labels(subject, label, n, seed)
    use_persistent_cache()
    rows = np.empty((n, *example.shape), example.dtype)
    lower, upper = np.empty((2, n)), np.empty((2, n))  # values, standard errors
    work = n * (2 * settings.steps + settings.pilot_steps)
    with ProgressBar("Annealing there and back", work, show=progress) as bar:
        for one, members in by_class(labels, n):
            part = _both_ways(subject, example, one, len(members), settings, bar.advance)
            rows[members], lower[:, members], upper[:, members] = part
    space, dims = subject.space_of(rows), example.size
    how = f"{settings.how}; rows simulated from the model"
    return Sandwich(
        rows,
        labels,
        Likelihood(lower[0], "lower_bound", space, dims, how, lower[1]),
        Likelihood(upper[0], "upper_bound", space, dims, f"the way back of {how}", upper[1]),
    )


def _both_ways(
    subject: Subject,
    example: np.ndarray,
    label: int | None,
    n: int,
    settings: AnnealingSettings,
    report: Report,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    latent = LatentRows(subject, example, label)
    pair = latent.pair(settings.start)
    rows, exact = latent.simulate(n, settings.seed + (label or 0))
    there, back, done = [], [], 0
    for block, sizes, log_weights in annealed_rows(latent, pair, rows, settings, report, label or 0):
        size = len(block.x)
        ends = np.resize(exact[done : done + size], (size, latent.dim))
        ends = np.repeat(ends[:, None], settings.chains, axis=1)
        other = block._replace(
            seeds=block.seeds ^ np.uint32(0x85EBCA6B)
        )  # noise independent of the forward path
        returned = anneal(
            pair,
            other,
            sizes,
            steps=settings.steps,
            leapfrog=settings.leapfrog,
            report=lambda k: None,
            end=ends,
        )
        report(settings.steps * min(size, n - done))
        there.append(log_weights)
        back.append(returned)
        done += size
    low, low_stderr = log_mean_weight(np.concatenate(there)[:n])
    minus_high, high_stderr = log_mean_weight(np.concatenate(back)[:n])
    return rows, np.stack([low, low_stderr]), np.stack([-minus_high, high_stderr])


def _example(model: Any, like: Any) -> Any:
    if like is not None:
        return like
    if not isinstance(model, Family):
        raise InvalidArgument(
            "like",
            got="nothing, for a program",
            expected="a few rows (m, *shape), for their shape and dtype",
            fix="Write like=x[:1].",
        )
    return np.zeros((1, *model.shape), float if model.levels is None else int)


def _labels(subject: Subject, label: Any, n: int, seed: int) -> np.ndarray | None:
    if label is not None or subject.classes is None:
        return check_label(label, subject, n)
    weights = subject.class_weights()
    return np.random.default_rng(seed).choice(len(weights), size=n, p=weights / weights.sum())
