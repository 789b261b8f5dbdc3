"""The base of the autoregressive families: one program, and sampling that can be sharpened."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import pyro
from torch import Tensor, nn

from ppgen.models.autoregressive.conditionals import Sharpening
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.autoregressive import Autoregressive, Conditionals
from ppgen.models.family import CLASSES
from ppgen.models.module_family import ModuleFamily
from ppgen.models.settings import setting
from ppgen.program.likelihood import Likelihood

__all__ = ["COMPONENTS", "AutoregressiveFamily"]

COMPONENTS: Any = setting(default=8, doc="Gaussians in each conditional of continuous data")


class AutoregressiveFamily(ModuleFamily):
    r"""A product of conditionals, which a subclass's ``network`` predicts.

    .. math:: p(x) = \prod_{t=1}^{d} p(x_t \mid x_{<t})

    With ``levels`` each conditional is a categorical; without, a mixture of Gaussians.
    """

    objectives: ClassVar[tuple[str, ...]] = ("likelihood",)

    classes: int | None = CLASSES

    def build(self) -> None:
        """Build the network."""
        self.network: Any = self.conditionals()

    @abstractmethod
    def conditionals(self) -> nn.Module:
        """The network that predicts each conditional."""

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: one site ``x``, whose distribution is the chain rule.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the classes ``(n,)``, for a model built with ``classes``.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            return pyro.sample("x", self.density(label), obs=x)  # (n, *shape)

    def density(
        self,
        label: Tensor | None = None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
    ) -> PyroDistribution:
        """The distribution of one example, or with ``label (n,)`` of n examples of these classes.

        The other arguments, and their errors, are those of :meth:`sample`.
        """
        self.check_label(label)
        sharpening = Sharpening(temperature, top_k, top_p)
        return self.in_data_units(self.chain(sharpening, label))

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
    ) -> np.ndarray:
        """Draw ``(n, *shape)`` samples in the data's own values.

        Args:
            n: how many.
            seed: the same seed gives the same samples.
            label: the class, or n of them, for a model built with ``classes``; drawn where it is not given.
            temperature: below 1 sharpens each conditional, above 1 flattens it.
            top_k: keep only the k likeliest values of each conditional.
            top_p: keep only the likeliest values that together reach this probability.

        Raises:
            InvalidArgument: if one is out of range, or top_k or top_p is given for continuous data.

        References:
            Holtzman et al., *The Curious Case of Neural Text Degeneration*, 2019, arXiv:1904.09751 (top-p).
        """
        Sharpening(temperature, top_k, top_p).conditional(self.levels)

        def draw(size: int, classes: Tensor | None = None) -> Tensor:
            density = self.density(classes, temperature=temperature, top_k=top_k, top_p=top_p)
            return density.sample((size,) if classes is None else ())

        return self.draw_rows(n, seed, draw, label)

    def log_prob(self, x: Any, *, label: Any = None) -> Likelihood:
        """The exact log density of each example of ``x (n, *shape)``.

        Args:
            x: examples in the data's own values.
            label: their classes ``(n,)``; without them the classes are marginalised.
        """

        def score(rows: Tensor, classes: Tensor | None = None) -> Tensor:
            return self.density(classes).log_prob(rows)

        values = self.score_rows(x, score, label)
        return Likelihood(values, "exact", self.space, self.dims, how="chain rule")

    def chain(self, sharpening: Sharpening, label: Tensor | None) -> PyroDistribution:
        """The distribution of one example in the network's units."""
        return self.in_order(self.network, sharpening, label)

    def in_order(
        self, network: Conditionals, sharpening: Sharpening, label: Tensor | None
    ) -> PyroDistribution:
        """The chain rule in the order of a network."""
        batch = () if label is None else tuple(label.shape)
        return Autoregressive(network, sharpening.conditional(self.levels), self.shape, batch, label)

    def outputs(self, components: int) -> int:
        """The number of outputs per entry: one logit per level, or three numbers per Gaussian."""
        return self.levels or 3 * components
