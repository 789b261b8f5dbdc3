"""The noise-conditional score network, with annealed Langevin dynamics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.errors import InvalidArgument
from ppgen.kernels.langevin import annealed_langevin
from ppgen.models.diffusion.gaussian_chain import (
    GaussianChain,
    GaussianChainFamily,
    ancestral,
)
from ppgen.models.diffusion.schedules import VarianceExploding
from ppgen.models.settings import setting
from ppgen.program.density import float64
from ppgen.program.likelihood import Likelihood

__all__ = ["NCSN"]

Sampler = Literal["langevin", "ancestral"]


class NCSN(GaussianChainFamily):
    r"""A network for the score of data under noise of many strengths, strongest first when sampling.

    .. math:: s_\theta(z, \sigma) \approx \nabla_z \log q_\sigma(z), \qquad q_\sigma = p * N(0, \sigma^2 I),
        \qquad \sigma_1 < \dots < \sigma_T \text{ in geometric progression}

    At each strength, Langevin dynamics make some steps along the score from where the stronger noise left
    them. That sampler has no density of its own. The program is the chain of reverse steps that the same
    scores define (the DDPM's, with data that do not shrink), and its ELBO is what ``log_prob`` gives.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data Distribution*, 2019,
        arXiv:1907.05600; Song and Ermon, *Improved Techniques for Training Score-Based Generative Models*,
        2020, arXiv:2006.09011 (the network's output is divided by the noise's strength); Song et al., 2020,
        arXiv:2011.13456, appendix F (the chain of reverse steps).

    Example:
        >>> ncsn = NCSN((2,), steps=10, width=16, depth=1)
        >>> ncsn.sample(5, seed=0, langevin_steps=2).shape
        (5, 2)
        >>> ncsn.log_prob([[0.0, 0.0]]).kind
        'lower_bound'
    """

    name = "ncsn"
    summary = "noise-conditional score network with annealed Langevin dynamics; lower bound; slow to sample"
    objectives: ClassVar[tuple[str, ...]] = ("denoising", "noise_prediction", "variational_bound", "elbo")

    steps: int = setting(default=200, least=2, doc="how many strengths of noise there are")
    smallest: float = setting(
        default=0.01,
        above=0.0,
        doc="the weakest noise, in standard deviations of the data; with levels, in halves of their range",
    )
    largest: float = setting(default=20.0, above=0.0, doc="the strongest noise, in the same units")

    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of the data and the spread of the noise after each step ``(steps,)``, weakest first."""
        _check_strengths(self.smallest, self.largest)
        schedule = VarianceExploding(self.smallest, self.largest)
        with float64():
            sigmas = np.asarray(schedule.sigma(jnp.arange(self.steps) / (self.steps - 1)))
        return np.ones(self.steps), sigmas

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The ELBO of each example under the reverse chain; see :meth:`GaussianChainFamily.log_prob`."""
        found = super().log_prob(x, label=label, samples=samples, seed=seed)
        return replace(found, how=f"{found.how}; of the reverse chain, not of Langevin dynamics")

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        guidance: float = 1.0,
        sampler: Sampler = "langevin",
        langevin_steps: int = 5,
        step_size: float = 0.2,
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: the weight of the class: 1 is the model itself, 0 ignores the class.
            sampler: ``"langevin"`` dynamics, or the program's ``"ancestral"`` chain.
            langevin_steps: at each strength of noise.
            step_size: of Langevin dynamics, in variances of the noise.
        """
        langevin_steps = check_integer("langevin_steps", langevin_steps)
        step_size = check_number("step_size", step_size, above=0.0, example=0.2)
        if check_choice("sampler", sampler, get_args(Sampler)) == "ancestral":
            return self._draw(n, seed, ancestral, label, guidance, steps=self.steps, eta=1.0)
        return self._draw(n, seed, _langevin, label, guidance, steps=langevin_steps, step_size=step_size)


@eqx.filter_jit
def _langevin(
    program: GaussianChain,
    key: jax.Array,
    size: int,
    label: Any = None,
    *,
    steps: int,
    step_size: float,
    guidance: float,
) -> jax.Array:
    """Rows ``(size, *shape)`` by some steps of Langevin dynamics at each strength of noise."""
    start_key, key, last_key = jax.random.split(key, 3)

    def score(z: jax.Array, step: jax.Array) -> jax.Array:
        t = (program.steps - step) / program.steps
        return program.score(z, t, label, guidance)

    start = program.strengths.prior_spread * jax.random.normal(start_key, (size, *program.shape))
    sigmas = jnp.float32(program.strengths.sigmas[::-1])
    z = annealed_langevin(score, start, key, sigmas, steps, step_size)
    return program.decoder(z, label, guidance).sample(last_key)


def _check_strengths(smallest: float, largest: float) -> None:
    if not smallest < largest:
        raise InvalidArgument(
            "smallest",
            got=f"{smallest:g}, with largest={largest:g}",
            expected="weaker noise than the largest",
            fix="Write smallest=0.01, largest=20.",
        )
