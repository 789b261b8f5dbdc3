"""The denoising diffusion probabilistic model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax.numpy as jnp
import numpy as np

from ppgen.checks import check_choice, check_integer
from ppgen.errors import InvalidArgument
from ppgen.models.diffusion.gaussian_chain import GaussianChainFamily, ancestral
from ppgen.models.diffusion.schedules import CosineSchedule, LogLinearSchedule, VariancePreserving
from ppgen.models.settings import setting
from ppgen.program.density import float64

__all__ = ["DDPM"]

Schedules = Literal["linear", "cosine", "log_linear"]
Sampler = Literal["ddpm", "ddim"]

_SCHEDULES: Mapping[str, Any] = {
    "linear": VariancePreserving(),
    "cosine": CosineSchedule(),
    "log_linear": LogLinearSchedule(),
}


class DDPM(GaussianChainFamily):
    r"""A Markov chain that removes noise in T steps, :math:`z_T \to \dots \to z_1 \to x`.

    .. math:: z_T \sim N(0, I), \qquad
        p(z_{i-1} \mid z_i) = N\big(z_{i-1}; \tilde\mu_i(z_i, \hat x_\theta(z_i)), \tilde\beta_i I\big)

    with the mean :math:`\tilde\mu_i` that the forward process has where the data are known, and its variance
    :math:`\tilde\beta_i`, or the larger :math:`\beta_i`. The guide is that forward process,
    :math:`q(z_i \mid z_{i-1}) = N(\sqrt{1 - \beta_i} \, z_{i-1}, \beta_i I)`. The last step is a Gaussian in
    the data's units; or with levels a distribution over them.

    The program has a site per step; with few steps the language's own ELBO can fit it.
    ``objective="variational_bound"`` maximises the same bound by one random step per example.

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
    objectives: ClassVar[tuple[str, ...]] = ("noise_prediction", "variational_bound", "elbo")

    schedule: Schedules = setting(
        factory=lambda chosen: "linear" if chosen.levels is None else "log_linear",
        doc="of the noise: linear (default for continuous data), cosine, or log-linear (default for levels), "
        "whose bound loses least to the steps",
    )

    def noise(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of the data and the spread of the noise after each step ``(steps,)``, weakest first."""
        schedule = _SCHEDULES[self.schedule]
        with float64():
            times = jnp.arange(1, self.steps + 1) / self.steps
            return np.asarray(schedule.alpha(times)), np.asarray(schedule.sigma(times))

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
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: for a model with classes, one class or ``(n,)`` of them; by default drawn too.
            guidance: the weight of the class: 1 is the model itself, 0 ignores the class.
            sampler: ``"ddpm"`` adds noise at each step, as the program does; ``"ddim"`` only at the start.
            steps: how many steps to make, spread over the chain's; by default all.
            eta: of DDIM, the share of the program's noise that is added: 0 none, 1 all.
        """
        steps = self.steps if steps is None else min(check_integer("steps", steps), self.steps)
        eta = _check_eta(eta, sampler)
        return self._draw(n, seed, ancestral, label, guidance, steps=steps, eta=eta)


def _check_eta(eta: float | None, sampler: Sampler) -> float:
    check_choice("sampler", sampler, get_args(Sampler))
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
