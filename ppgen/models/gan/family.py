"""The base of the implicit families: a program that maps noise to data, and a critic."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

import pyro
import pyro.distributions as dist
from torch import Tensor

from ppgen.errors import NoLikelihood
from ppgen.models.distributions import PyroDistribution
from ppgen.models.family import CLASSES
from ppgen.models.module_family import ModuleFamily
from ppgen.models.networks.codec import Networks, decoder
from ppgen.models.networks.critic import Critic
from ppgen.models.networks.initial import keep_variance
from ppgen.models.settings import setting
from ppgen.program.capabilities import HasCritic

__all__ = ["ImplicitFamily"]

HIDDEN = {"mlp": (256, 256), "conv": (64, 128)}


class ImplicitFamily(ModuleFamily, HasCritic):
    """A sampler without a density: a latent vector, and data that are a function of it.

    For discrete data the generator emits numbers between the lowest and the highest level, which
    :meth:`sample` rounds. The critic of training is kept with the generator.
    """

    objectives: ClassVar[tuple[str, ...]] = ("adversarial",)
    joint: ClassVar[bool] = False
    """Whether the critic reads the latent vector too."""

    latent_dim: int = setting(default=16, doc="the length of z")
    networks: Networks = setting(default="mlp", doc="``conv`` for images")
    hidden: tuple[int, ...] = setting(
        factory=lambda chosen: HIDDEN[chosen.networks],
        at_least=1,
        doc="widths of the generator's hidden layers, the critic's in reverse; for ``conv`` the "
        "channels after each halving of the image. By default ``(256, 256)`` and ``(64, 128)``",
    )
    spectral: bool = setting(
        default=False,
        doc="divide the matrix of each of the critic's layers by its largest singular value, which bounds "
        "its slope",
    )
    classes: int | None = CLASSES

    def build(self) -> None:
        """Make generator and critic."""
        kind, hidden, classes = self.networks, self.hidden, self.classes or 0
        self.generator = keep_variance(decoder(kind, self.shape, hidden, self.latent_dim + classes, 1))
        self.critic = Critic(
            kind,
            self.shape,
            hidden if kind == "conv" else hidden[::-1],
            latent=self.latent_dim if self.joint else 0,
            classes=classes,
            spectral=self.spectral,
            noise=0.0 if self.levels is None else 2 / (self.levels - 1),  # from one level to the next
        )

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: site ``z``, and ``x`` as a deterministic function of it.

        Args:
            x: examples ``(n, *shape)``, whose number is the number to sample. They cannot be observed: a
                function of z has no density at a given example.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            z = pyro.sample("z", self._prior())  # (n, latent_dim)
            return pyro.deterministic("x", self.generate(z, label), event_dim=len(self.shape))

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latent vectors ``(n, latent_dim)`` to samples ``(n, *shape)``; levels are not rounded."""
        rows = self.generator(self.with_class(z, label)).unflatten(-1, self.shape)
        if self.levels is None:
            return self.loc + self.scale * rows
        return (rows.tanh() + 1) * ((self.levels - 1) / 2)

    def log_prob(self, x: Any, *, label: Any = None) -> NoReturn:
        """Raise an error: there is no likelihood.

        Raises:
            NoLikelihood: always; it says what can be measured instead.
        """
        raise NoLikelihood(
            "log_prob",
            got=f"a {type(self).__name__}, whose rows are a function of noise without a density",
            expected="a family with a likelihood",
            fix="Measure its samples instead: model.sample(1000) next to test rows, and the divergence that "
            "the critic estimates, run.history[-1].measures['divergence'].",
        )

    def _prior(self) -> PyroDistribution:
        return dist.Normal(self.loc.new_zeros(self.latent_dim), 1.0).to_event(1)
