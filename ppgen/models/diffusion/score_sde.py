"""Score-based diffusion in continuous time, by stochastic and ordinary differential equations."""

from __future__ import annotations

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.kernels.langevin import corrected
from ppgen.models.diffusion.flow_family import FlowProgram, ProbabilityFlowFamily, cell_noise, flow_rows
from ppgen.models.diffusion.levels import default_prediction, outputs_of
from ppgen.models.diffusion.schedules import Process, VarianceExploding, VariancePreserving
from ppgen.models.settings import setting

__all__ = ["ScoreFlow", "ScoreSDE", "predictor_corrector", "probability_flow_velocity"]

Name = Literal["vp", "ve"]
Prediction = Literal["noise", "levels"]
Sampler = Literal["predictor_corrector", "ode"]

FIRST = 1e-3  # a time of nearly no noise, so that the score stays finite


class ScoreSDE(ProbabilityFlowFamily):
    r"""Data diffuse into noise; the score at each time leads back.

    .. math:: dz = f(t) z \, dt + g(t) \, dw, \qquad
        dz = \big(f(t) z - g(t)^2 s_\theta(z, t)\big) dt + g(t) \, d\bar w

    are the forward and the reverse process. The ordinary differential equation
    :math:`\dot z = f z - \frac12 g^2 s_\theta` has the same marginals where the score is right: its flow
    gives log densities, and is the program. Times go from nearly no noise to 1;
    the noise left at the first time belongs to the model, or, with levels, to the guide.

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

    process: Name = setting(default="vp", doc="variance preserving or variance exploding")
    prediction: Prediction = setting(
        factory=lambda chosen: default_prediction(chosen.levels, "noise"),
        doc="what the network predicts: the noise in a row, or for data with levels (where it is the "
        "default) the distribution of each entry over the levels, from which the noise follows. Minus the "
        "noise over its spread is the score",
    )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that can train it; the density of continuous data is maximised itself."""
        return ("denoising", "noise_prediction", "likelihood" if self.levels is None else "elbo")

    def build(self) -> None:
        """Make the network, and the process of the noise."""
        schedule, first = _forward_process(self.process, self.levels)
        end = jnp.ones(())
        self._begin(
            ScoreFlow,
            self._denoiser(outputs=outputs_of(self.prediction, self.levels)),
            prediction=self.prediction,
            data_time=first,
            noise_time=1.0,
            noise_spread=float(jnp.hypot(schedule.alpha(end), schedule.sigma(end))),
            schedule=schedule,
        )

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
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: the weight of the class: 1 is the model itself, 0 ignores the class.
            sampler: ``"predictor_corrector"``, the reverse process with a Langevin step after each of its
                steps, or ``"ode"``, the probability flow.
            steps: of the reverse process.
            ratio: the signal-to-noise ratio of the Langevin steps; larger values take larger steps.
            tolerance: of each step of the probability flow's solver.
        """
        steps = check_integer("steps", steps)
        ratio = check_number("ratio", ratio, above=0.0, example=0.16)
        tolerance = check_number("tolerance", tolerance, above=0.0, example=1e-4)
        if check_choice("sampler", sampler, get_args(Sampler)) == "ode":
            return self._draw(n, seed, flow_rows, label, guidance, tolerance=tolerance)
        return self._draw(n, seed, _backward_rows, label, guidance, steps=steps, ratio=ratio)


class ScoreFlow(FlowProgram):
    """The program of a :class:`ScoreSDE`: its score, and the flow with the same marginals.

    Attributes:
        schedule: of the noise.
    """

    schedule: Process = eqx.field(static=True)

    def strength(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The share of the data and the spread of the noise, which broadcast against rows."""
        t = self.expanded(t)
        return self.schedule.alpha(t), self.schedule.sigma(t)

    def input_scale(self, t: jax.Array) -> jax.Array:
        """The standard deviation of noisy rows, if that of the data is 1."""
        return jnp.hypot(*self.strength(t))

    def velocity(
        self, z: jax.Array, t: jax.Array, label: Any = None, guidance: float = 1.0, key: Any = None
    ) -> jax.Array:
        """The probability flow's velocity; see :meth:`FlowProgram.velocity`."""
        slope = self.score(z, t, label, guidance, key)
        return probability_flow_velocity(self.schedule, slope, z, self.expanded(t))

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The rate g ``(n,)`` at which noise is added at times ``t (n,)``."""
        return self.schedule.diffusion(t)


def _forward_process(process: Name, levels: int | None) -> tuple[Process, float]:
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
    r"""Draw samples by Euler–Maruyama steps back in time, each followed by a Langevin step.

    Args:
        score: of examples ``(n, *shape)`` at a time ``()``.
        schedule: of the noise.
        start: rows of noise ``(n, *shape)``, at time 1.
        key: of the noise.
        first: the time to come to.
        steps: how many.
        ratio: of signal to noise in the Langevin steps.

    Returns:
        Examples ``(n, *shape)`` at that time; the last step adds no noise.

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


@eqx.filter_jit
def _backward_rows(
    program: ScoreFlow,
    key: jax.Array,
    size: int,
    label: Any = None,
    *,
    steps: int,
    ratio: float,
    guidance: float,
) -> jax.Array:
    """Draw ``(size, *shape)`` samples by the reverse process."""
    start_key, key = jax.random.split(key)
    rows = predictor_corrector(
        lambda z, t: program.score(z, t, label, guidance),
        program.schedule,
        program.noise_spread * jax.random.normal(start_key, (size, *program.shape)),
        key,
        first=program.data_time,
        steps=steps,
        ratio=ratio,
    )
    loc, scale = program.units
    return program.to_values(loc + scale * rows)
