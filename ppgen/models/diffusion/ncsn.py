"""The noise-conditional score network, with annealed Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import InvalidArgument
from ppgen.kernels.langevin import annealed_langevin
from ppgen.models.checks import check_name, check_number, check_positive
from ppgen.models.diffusion.gaussian_chain import GaussianChain, Prediction, Variance, ancestral
from ppgen.models.diffusion.schedules import VarianceExploding
from ppgen.models.networks.denoiser import Networks
from ppgen.program.density import float64
from ppgen.program.likelihood import Likelihood

__all__ = ["NCSN"]

Sampler = Literal["langevin", "ancestral"]


class NCSN(GaussianChain):
    r"""A network for the score of data under noise of many strengths, strongest first when sampling.

    .. math:: s_\theta(z, \sigma) \approx \nabla_z \log q_\sigma(z), \qquad q_\sigma = p * N(0, \sigma^2 I),
        \qquad \sigma_1 < \dots < \sigma_T \text{ in geometric progression}

    At each strength, Langevin dynamics make some steps along the score from where the stronger noise left
    them. That sampler has no density of its own. The program is the chain of reverse steps that the same
    scores define (the DDPM's, with data that do not shrink), and its ELBO is what ``log_prob`` gives.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        steps: how many strengths of noise there are.
        smallest, largest: the weakest and the strongest noise, in standard deviations of the data; with
            levels, in halves of their range.
        prediction: the network tells the ``"noise"``, or for data with levels (where it is the default) the
            distribution of each entry over the ``"levels"``; the score follows from either.
        variance: of the reverse steps, ``"lower"`` (the default for levels) or ``"upper"`` (for continuous
            data): what is left where the data are known, or what the forward step added.
        network: ``"mlp"`` or ``"unet"``; by default what suits the shape.
        width, depth, dropout: of the network.
        classes: how many classes the rows have, for a model of rows given their class.
        label_dropout: the share of training rows whose label is left out.
        seed: seed of the initial weights.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        steps: int = 200,
        smallest: float = 0.01,
        largest: float = 20.0,
        prediction: Prediction | None = None,
        variance: Variance | None = None,
        network: Networks | None = None,
        width: int | None = None,
        depth: int | None = None,
        dropout: float = 0.1,
        classes: int | None = None,
        label_dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        check_positive("steps", steps, least=2)
        _check_strengths(check_number("smallest", smallest), check_number("largest", largest))
        schedule = VarianceExploding(smallest, largest)
        with float64():
            sigmas = np.asarray(schedule.sigma(jnp.arange(steps) / (steps - 1)))
        super().__init__(
            shape,
            levels,
            {"steps": steps, "smallest": smallest, "largest": largest},
            ("denoising", "noise_prediction", "variational_bound", "elbo"),
            alphas=np.ones(steps),
            sigmas=sigmas,
            prediction=prediction,
            variance=variance,
            network=network,
            width=width,
            depth=depth,
            dropout=dropout,
            classes=classes,
            label_dropout=label_dropout,
            seed=seed,
        )

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The ELBO of each row under the chain of reverse steps; see :meth:`GaussianChain.log_prob`."""
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
        """Draw ``(n, *shape)`` rows in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: how much of the class to show; 1 is the model itself, 0 forgets the class.
            sampler: ``"langevin"`` dynamics, or the program's ``"ancestral"`` chain.
            langevin_steps: at each strength of noise.
            step_size: of Langevin dynamics, in variances of the noise.
        """
        draw = _Sampling(
            check_name("sampler", sampler, get_args(Sampler)),
            check_positive("langevin_steps", langevin_steps),
            check_number("step_size", step_size),
            check_number("guidance", guidance, above=-1e-9),
        )
        return self._draw(n, seed, draw, label)

    def diffusion(self, t: jax.Array) -> jax.Array:
        """The strength ``(n,)`` with which noise comes in at times ``t (n,)``, per unit of time."""
        return self.spread(t) * float(np.sqrt(2 * np.log(self.sigmas[-1] / self.sigmas[0])))

    def spread(self, t: jax.Array) -> jax.Array:
        """The standard deviation of the noise ``(n,)`` at times ``t (n,)``."""
        return self._strength(t)[1].reshape(-1)


@dataclass(frozen=True)
class _Sampling:
    """Rows by annealed Langevin dynamics, or by the reverse chain."""

    sampler: str
    langevin_steps: int
    step_size: float
    guidance: float

    def __call__(self, family: NCSN, key: jax.Array, size: int, label: Any = None) -> jax.Array:
        if self.sampler == "ancestral":
            return ancestral(family, key, size, label, steps=family.steps, eta=1.0, guidance=self.guidance)
        start_key, key, last_key = jax.random.split(key, 3)

        def score(z: jax.Array, step: jax.Array) -> jax.Array:
            t = (family.steps - step) / family.steps
            return family.score(z, t, label, self.guidance)

        start = family.prior_spread * jax.random.normal(start_key, (size, *family.shape))
        z = annealed_langevin(
            score, start, key, jnp.float32(family.sigmas[::-1]), self.langevin_steps, self.step_size
        )
        return family.decoder(z, label, self.guidance).sample(last_key)


def _check_strengths(smallest: float, largest: float) -> None:
    if not smallest < largest:
        raise InvalidArgument(
            "smallest",
            got=f"{smallest:g}, with largest={largest:g}",
            expected="weaker noise than the largest",
            fix="Write smallest=0.01, largest=20.",
        )
