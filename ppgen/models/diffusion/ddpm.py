"""The denoising diffusion probabilistic model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_name, check_number, check_positive
from ppgen.models.diffusion.gaussian_chain import GaussianChain, Prediction, Variance, ancestral
from ppgen.models.diffusion.schedules import CosineSchedule, LogLinearSchedule, VariancePreserving
from ppgen.models.networks.denoiser import Networks
from ppgen.program.density import float64

__all__ = ["DDPM"]

Schedules = Literal["linear", "cosine", "log_linear"]
Sampler = Literal["ddpm", "ddim"]

_SCHEDULES: Mapping[str, Any] = {
    "linear": VariancePreserving(),
    "cosine": CosineSchedule(),
    "log_linear": LogLinearSchedule(),
}


class DDPM(GaussianChain):
    r"""A Markov chain that undoes noise in T steps, :math:`z_T \to \dots \to z_1 \to x`.

    .. math:: z_T \sim N(0, I), \qquad
        p(z_{i-1} \mid z_i) = N\big(z_{i-1}; \tilde\mu_i(z_i, \hat x_\theta(z_i)), \tilde\beta_i I\big)

    with the mean :math:`\tilde\mu_i` that the forward process has where the data are known, and its variance
    :math:`\tilde\beta_i`, or the larger :math:`\beta_i`. The guide is that forward process,
    :math:`q(z_i \mid z_{i-1}) = N(\sqrt{1 - \beta_i} \, z_{i-1}, \beta_i I)`. The last step is a Gaussian in
    the data's units; or with levels a distribution over them.

    The program has a site a step, and the engine's own ELBO fits it where there are few.
    ``objective="variational_bound"`` maximises the same bound by one random step a row.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        steps: how many steps T the chain has.
        schedule: of the noise, ``"linear"`` (default for continuous data), ``"cosine"``, or ``"log_linear"``
            (default for levels), whose bound loses least to the steps.
        prediction: the network tells the ``"noise"``, or for data with levels (where it is the default) the
            distribution of each entry over the ``"levels"``, whose mean is :math:`\hat x`.
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
        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239; Nichol and
        Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, 2021, arXiv:2102.09672 (the cosine);
        Kingma et al., *Variational Diffusion Models*, 2021, arXiv:2107.00630 (the log-linear schedule);
        Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, 2020, arXiv:2010.02502.

    Example:
        >>> ddpm = DDPM((2,), steps=20, width=16, depth=1)
        >>> ddpm.sample(5, seed=0).shape, ddpm.sample(5, seed=0, sampler="ddim", steps=4).shape
        ((5, 2), (5, 2))
        >>> ddpm.log_prob([[0.0, 0.0]]).kind
        'lower_bound'
    """

    name = "ddpm"
    summary = "denoising diffusion, a Markov chain from noise to data; lower bound; DDIM samples in few steps"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        steps: int = 1000,
        schedule: Schedules | None = None,
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
        schedule = schedule or ("linear" if levels is None else "log_linear")
        chosen = _SCHEDULES[check_name("schedule", schedule, get_args(Schedules))]
        with float64():
            times = jnp.arange(1, check_positive("steps", steps) + 1) / steps
            alphas, sigmas = np.asarray(chosen.alpha(times)), np.asarray(chosen.sigma(times))
        super().__init__(
            shape,
            levels,
            {"steps": steps, "schedule": schedule},
            ("noise_prediction", "variational_bound", "elbo"),
            alphas=alphas,
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

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        guidance: float = 1.0,
        sampler: Sampler = "ddpm",
        steps: int | None = None,
        eta: float | None = None,
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: how much of the class to show; 1 is the model itself, 0 forgets the class.
            sampler: ``"ddpm"`` adds noise at each step, as the program does; ``"ddim"`` only at the start.
            steps: how many steps to make, spread over the chain's; by default all.
            eta: of DDIM, the share of the program's noise that is added: 0 none, 1 all.
        """
        steps = min(self.steps if steps is None else check_positive("steps", steps), self.steps)
        draw = _Sampling(steps, _check_eta(eta, sampler), check_number("guidance", guidance, above=-1e-9))
        return self._draw(n, seed, draw, label)


@dataclass(frozen=True)
class _Sampling:
    """Rows by some of the chain's steps."""

    steps: int
    eta: float
    guidance: float

    def __call__(self, family: DDPM, key: jax.Array, size: int, label: Any = None) -> jax.Array:
        return ancestral(family, key, size, label, **vars(self))


def _check_eta(eta: float | None, sampler: Sampler) -> float:
    check_name("sampler", sampler, get_args(Sampler))
    if eta is None:
        return 1.0 if sampler == "ddpm" else 0.0
    if sampler == "ddpm" or not 0 <= eta <= 1:
        raise InvalidArgument(
            "eta",
            got=f"{eta!r} with sampler={sampler!r}",
            expected="a share of the noise from 0 to 1, with sampler='ddim'",
            fix="Write sampler='ddim', eta=0.5; sampler='ddpm' has all of the noise.",
        )
    return float(eta)
