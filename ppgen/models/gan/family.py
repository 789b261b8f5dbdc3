"""What the implicit families have in common: a program that makes rows of noise, and a critic of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, get_args

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from ppgen.errors import InvalidArgument, NoLikelihood
from ppgen.models.checks import check_classes, check_name, check_positive, check_sizes
from ppgen.models.distributions import PyroDistribution
from ppgen.models.networks.codec import Networks, decoder
from ppgen.models.networks.critic import Critic
from ppgen.models.networks.initial import keep_variance
from ppgen.models.pyro_family import PyroFamily, seeded

__all__ = ["ImplicitFamily"]

HIDDEN = {"mlp": (256, 256), "conv": (64, 128)}


class ImplicitFamily(PyroFamily):
    """A sampler without a density: a latent vector, and a row that is a function of it.

    For discrete data the generator emits numbers between the lowest and the highest level, which
    :meth:`sample` rounds. A critic, which training plays against the generator, is kept beside it.

    Args:
        shape: the shape of one row.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        objective: what trains it.
        settings: further entries of ``config``.
        latent_dim: the length of the latent vector.
        networks: ``"mlp"``, or ``"conv"`` for images.
        hidden: widths of the generator's hidden layers, in reverse those of the critic; for ``"conv"`` the
            channels after each halving of the image. By default ``(256, 256)`` and ``(64, 128)``.
        spectral: normalise the critic's layers spectrally.
        classes: how many classes the rows have.
        seed: seed of the initial weights.
        joint: whether the critic reads the latent vector too.
    """

    def __init__(
        self,
        shape: Any,
        levels: int | None,
        objective: str,
        settings: Mapping[str, Any],
        *,
        latent_dim: int,
        networks: Networks,
        hidden: tuple[int, ...] | None,
        spectral: bool,
        classes: int | None,
        seed: int,
        joint: bool = False,
    ) -> None:
        config = {
            **settings,
            "latent_dim": check_positive("latent_dim", latent_dim),
            "networks": check_name("networks", networks, get_args(Networks)),
            "hidden": _at_least_one(check_sizes("hidden", HIDDEN[networks] if hidden is None else hidden)),
            "spectral": spectral,
            "seed": seed,
        }
        super().__init__(shape, levels, config, (objective,), classes=check_classes(classes))
        self.latent_dim = latent_dim
        with seeded(seed):
            self._build(networks, config["hidden"], spectral, joint)
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: site ``z``, and the row ``x`` as a deterministic function of it.

        Args:
            x: rows ``(n, *shape)``, as many as are to be sampled. They cannot be observed: a function of z
                has no density at a given row.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        self.register()
        with pyro.plate("rows", n if x is None else len(x)):
            z = pyro.sample("z", self._prior())  # (n, latent_dim)
            return pyro.deterministic("x", self.generate(z, label), event_dim=len(self.shape))

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The rows ``(n, *shape)`` that latent vectors ``(n, latent_dim)`` make; levels are not rounded."""
        rows = self.generator(self._with_class(z, label)).unflatten(-1, self.shape)
        if self.levels is None:
            return self.loc + self.scale * rows
        return (rows.tanh() + 1) * ((self.levels - 1) / 2)

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values, rounded to levels where it has levels.

        Args:
            n: how many.
            seed: of the draws.
            label: one class for all rows or one for each; by default drawn as often as in training.
        """
        return self._draw(
            n, seed, lambda size, label=None: self._rounded(self.model(None, size, label)), label
        )

    def log_prob(self, x: Any, *, label: Any = None) -> NoReturn:
        """There is none.

        Raises:
            NoLikelihood: always; it says what can be measured instead.
        """
        raise NoLikelihood(
            "log_prob",
            got=f"a {type(self).__name__}, whose rows are a function of noise without a density",
            expected="a family with a likelihood",
            fix="Measure its samples instead: model.sample(1000) beside test rows, and the divergence that "
            "the critic estimates, run.history[-1].measures['divergence'].",
        )

    def _build(self, kind: Networks, hidden: tuple[int, ...], spectral: bool, joint: bool) -> None:
        classes = self.classes or 0
        self.generator = keep_variance(decoder(kind, self.shape, hidden, self.latent_dim + classes, 1))
        self.critic = Critic(
            kind,
            self.shape,
            hidden if kind == "conv" else hidden[::-1],
            latent=self.latent_dim if joint else 0,
            classes=classes,
            spectral=spectral,
            noise=0.0 if self.levels is None else 2 / (self.levels - 1),  # from one level to the next
        )

    def _prior(self) -> PyroDistribution:
        return dist.Normal(self.loc.new_zeros(self.latent_dim), 1.0).to_event(1)

    def _rounded(self, rows: Tensor) -> Tensor:
        return rows if self.levels is None else rows.round()

    def _with_class(self, vectors: Tensor, label: Tensor | None) -> Tensor:
        if self.classes is None:
            return vectors
        if label is None:
            raise InvalidArgument(
                "label",
                got="none, for a model with classes",
                expected=f"the class of each row, 0 … {self.classes - 1}",
                fix="Write model(n=2, label=torch.tensor([0, 1])), or model.sample(2, label=...).",
            )
        return torch.cat([vectors, F.one_hot(label, self.classes).to(vectors.dtype)], -1)


def _at_least_one(hidden: tuple[int, ...]) -> tuple[int, ...]:
    if not hidden:
        raise InvalidArgument(
            "hidden", got="()", expected="at least one hidden layer", fix="Write hidden=(256, 256)."
        )
    return hidden
