"""Score-based diffusion in continuous time, by stochastic and ordinary differential equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.kernels.langevin import corrected
from ppgen.models.checks import check_levels, check_name, check_number, check_positive
from ppgen.models.diffusion.flow_family import FlowSampling, ProbabilityFlowFamily, cell_noise
from ppgen.models.diffusion.levels import check_prediction, noise_of_level
from ppgen.models.diffusion.schedules import Process, VarianceExploding, VariancePreserving
from ppgen.models.networks.denoiser import Networks

__all__ = ["ScoreSDE", "predictor_corrector", "probability_flow_velocity"]

Name = Literal["vp", "ve"]
Prediction = Literal["noise", "levels"]
Sampler = Literal["predictor_corrector", "ode"]

FIRST = 1e-3  # a time of nearly no noise, so that the score stays finite


class ScoreSDE(ProbabilityFlowFamily):
    r"""Data diffuse into noise; the score of what is there at each time leads back.

    .. math:: dz = f(t) z \, dt + g(t) \, dw, \qquad
        dz = \big(f(t) z - g(t)^2 s_\theta(z, t)\big) dt + g(t) \, d\bar w

    are the way to noise and the way back. The ordinary differential equation
    :math:`\dot z = f z - \frac12 g^2 s_\theta` has the same marginals where the score is right: its flow
    gives log densities, and is the program. Times go from nearly no noise to 1;
    the noise that is left at the first belongs to the model, or with levels, to the guide.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        process: ``"vp"``, variance preserving, or ``"ve"``, variance exploding.
        prediction: the network tells the ``"noise"`` in a row, or for data with levels (where it is the
            default) the distribution of each entry over the ``"levels"``; the noise follows from it. Minus
            the noise over its spread is the score.
        network: ``"mlp"`` or ``"unet"``; by default what suits the shape.
        width, depth, dropout: of the network.
        classes: how many classes the rows have, for a model of rows given their class.
        label_dropout: the share of training rows whose label is left out.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative Modeling through
        Stochastic Differential Equations*, 2020, arXiv:2011.13456.

    Example:
        >>> sde = ScoreSDE((2,), width=16, depth=1)
        >>> sde.sample(5, seed=0, steps=10).shape, sde.sample(5, seed=0, sampler="ode").shape
        ((5, 2), (5, 2))
        >>> sde.log_prob([[0.0, 0.0]]).kind
        'estimate'
    """

    name = "score-sde"
    summary = "diffusion in continuous time; estimate by the probability flow, for levels a lower bound"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        process: Name = "vp",
        prediction: Prediction | None = None,
        network: Networks | None = None,
        width: int | None = None,
        depth: int | None = None,
        dropout: float = 0.1,
        classes: int | None = None,
        label_dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        check_name("process", process, get_args(Name))
        told = check_prediction(prediction, check_levels(levels), "noise")
        self.schedule, first = _way(process, levels)
        end = jnp.ones(())
        super().__init__(
            shape,
            levels,
            {"process": process},
            ("denoising", "noise_prediction"),
            data_time=first,
            noise_time=1.0,
            noise_spread=float(jnp.hypot(self.schedule.alpha(end), self.schedule.sigma(end))),
            prediction=told,
            network=network,
            width=width,
            depth=depth,
            dropout=dropout,
            classes=classes,
            label_dropout=label_dropout,
            seed=seed,
        )

    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The share of the data, and the spread of the noise, at times t."""
        return self.schedule.alpha(t), self.schedule.sigma(t)

    def outputs(self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None) -> jax.Array:
        """The noise ``(n, *shape)`` in standardised rows, or logits ``(n, *shape, levels)`` beneath it."""
        alpha, sigma = map(self.expanded, self.strength(t))
        out = self.call_network((z / jnp.hypot(alpha, sigma))[..., None], t, label, key)
        return self.told(out, z, alpha, sigma)

    def noise(
        self, z: jax.Array, t: jax.Array, label: Any = None, key: Any = None, guidance: float = 1.0
    ) -> jax.Array:
        """The noise ``(n, *shape)`` in standardised rows ``z (n, *shape)`` at times ``t (n,)``."""
        out = self.guided(z, t, label, guidance, key)
        if self.prediction == "noise":
            return out
        return noise_of_level(out, z, *map(self.expanded, self.strength(t)))

    def score(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The gradient of the log density ``(n, *shape)`` of rows at times ``t (n,)``."""
        return -self.noise(z, t, label, key, guidance) / self.expanded(self.spread(t))

    def velocity(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The probability flow's velocity; see :meth:`ProbabilityFlowFamily.velocity`."""
        slope = self.score(z, t, label, guidance, key)
        return probability_flow_velocity(self.schedule, slope, z, self.expanded(t))

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The strength g ``(n,)`` with which noise comes in at times ``t (n,)``."""
        return self.schedule.diffusion(t)

    def spread(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise ``(n,)`` at times ``t (n,)``."""
        return self.schedule.sigma(t)

    def diffused(self, rows: jax.Array, t: jax.Array, noise: jax.Array) -> jax.Array:
        """Standardised rows ``(n, *shape)`` with the noise of times ``t (n,)``."""
        alpha, sigma = map(self.expanded, self.strength(t))
        return alpha * rows + sigma * noise

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        guidance: float = 1.0,
        sampler: Sampler = "predictor_corrector",
        steps: int = 500,
        ratio: float = 0.16,
        tolerance: float = 1e-4,
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: how much of the class to show; 1 is the model itself, 0 forgets the class.
            sampler: ``"predictor_corrector"``, the stochastic way back with a Langevin step after each of its
                steps, or ``"ode"``, the probability flow.
            steps: of the stochastic way back.
            ratio: of signal to noise in the Langevin steps; larger are bolder.
            tolerance: of each step of the probability flow's solver.
        """
        guidance = check_number("guidance", guidance, above=-1e-9)
        check_positive("steps", steps), check_number("ratio", ratio), check_number("tolerance", tolerance)
        if check_name("sampler", sampler, get_args(Sampler)) == "ode":
            return self._draw(n, seed, FlowSampling(guidance, tolerance), label)
        return self._draw(n, seed, _Sampling(steps, ratio, guidance), label)


def _way(process: Name, levels: int | None) -> tuple[Process, float]:
    """The process, and the time at which rows are data: with levels, when their noise fills a cell."""
    if process == "vp":
        preserving = VariancePreserving()
        return preserving, FIRST if levels is None else preserving.time_of(cell_noise(levels))
    return VarianceExploding() if levels is None else VarianceExploding(cell_noise(levels)), 0.0


def probability_flow_velocity(schedule: Process, score: jax.Array, z: jax.Array, t: jax.Array) -> jax.Array:
    r"""The velocity :math:`f z - \frac12 g^2 s` of the flow with the marginals of a diffusion.

    Example:
        >>> z = jnp.ones(2)  # where the score of N(0, I) is -z, the variance preserving process rests
        >>> jnp.abs(probability_flow_velocity(VariancePreserving(), -z, z, jnp.array(0.5))).max() < 1e-6
        Array(True, dtype=bool)
    """
    return schedule.drift(t) * z - 0.5 * schedule.diffusion(t) ** 2 * score


def predictor_corrector(
    score: Any,
    schedule: Process,
    start: jax.Array,
    key: jax.Array,
    *,
    first: float,
    steps: int,
    ratio: float,
) -> jax.Array:
    r"""Rows by Euler–Maruyama steps back in time, each followed by a Langevin step at the time it came to.

    Args:
        score: of rows ``(n, *shape)`` at a time ``()``.
        schedule: of the noise.
        start: rows of noise ``(n, *shape)``, at time 1.
        key: of the noise.
        first: the time to come to.
        steps: how many.
        ratio: of signal to noise in the Langevin steps.

    Returns:
        Rows ``(n, *shape)`` at that time; the last step adds no noise.

    References:
        Song et al., 2020, arXiv:2011.13456, algorithm 1.
    """
    length = (1 - first) / steps

    def back(state: Any, i: jax.Array) -> tuple[Any, None]:
        z, key = state
        key, noise_key, corrector_key = jax.random.split(key, 3)
        t = 1 - length * i
        strength = schedule.diffusion(t)
        mean = z - length * (schedule.drift(t) * z - strength**2 * score(z, t))
        z = mean + strength * jnp.sqrt(length) * jax.random.normal(noise_key, z.shape)
        z = corrected(lambda rows: score(rows, t - length), z, corrector_key, ratio)
        return (z, key), None

    (z, _), _ = lax.scan(back, (start, key), jnp.arange(steps - 1))
    t = jnp.asarray(first + length)
    return z - length * (schedule.drift(t) * z - schedule.diffusion(t) ** 2 * score(z, t))


@dataclass(frozen=True)
class _Sampling:
    """Rows by the stochastic way back."""

    steps: int
    ratio: float
    guidance: float

    def __call__(self, family: ScoreSDE, key: jax.Array, size: int, label: Any = None) -> jax.Array:
        start_key, key = jax.random.split(key)
        rows = predictor_corrector(
            lambda z, t: family.score(z, t, label, self.guidance),
            family.schedule,
            family.noise_spread * jax.random.normal(start_key, (size, *family.shape)),
            key,
            first=family.data_time,
            steps=self.steps,
            ratio=self.ratio,
        )
        return family.in_data_units(rows)
