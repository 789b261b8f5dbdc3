"""The base of the latent-variable families: a decoder, its likelihood, and a guide."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from ppgen.models.distributions import PyroDistribution
from ppgen.models.family import CLASSES
from ppgen.models.module_family import ModuleFamily
from ppgen.models.observation import Likelihoods, default_likelihood, observation
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["DecodedFamily", "LatentFamily"]


class DecodedFamily(ModuleFamily):
    """Latent variables, and data given the output of a subclass's ``decoder``."""

    likelihood: Likelihoods = setting(
        factory=lambda chosen: default_likelihood(chosen.levels),
        doc="of an entry given the latent variables; ``bernoulli`` is for 2 levels, ``gaussian`` for "
        "continuous data. By default Gaussian without levels, Bernoulli with 2, categorical with more",
    )
    noise_scale: float | None = setting(
        default=None,
        above=0.0,
        doc="the standard deviation of Gaussian noise, in standard deviations of each entry of the training "
        "rows; by default learned, one for each entry",
    )
    classes: int | None = CLASSES

    def build(self) -> None:
        """Build the likelihood of the decoder; a subclass adds its networks."""
        self.decoder: nn.Module
        self.observation = observation(self.likelihood, self.shape, self.levels, self.noise_scale)

    @abstractmethod
    def guide(self, x: Tensor, label: Tensor | None = None) -> Any:
        """The guide: the latent variables given the rows ``x (n, *shape)`` and their classes ``(n,)``."""

    def rows_given(self, vectors: Tensor) -> PyroDistribution:
        """The distribution of rows given inputs ``(*batch, size)`` of the decoder."""
        outputs = self.decoder(vectors).unflatten(-1, (*self.shape, -1))  # (*batch, *shape, numbers)
        return self.in_data_units(self.observation(outputs))


class LatentFamily(DecodedFamily):
    """Latent vectors with densities, whose guide bounds the log density from below."""

    objectives: ClassVar[tuple[str, ...]] = ("elbo", "iwae", "renyi", "wake_sleep")

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The importance-weighted lower bound on the log density of each example of ``x (n, *shape)``.

        Args:
            x: examples in the data's own values.
            label: the class of each example, for a density given the class; by default classes are
                marginalised.
            samples: draws from the guide per example; 1 gives the ELBO, more a tighter bound.
            seed: seed of the draws.
        """
        return self.bound_rows(x, self.guide, samples, seed, label)
