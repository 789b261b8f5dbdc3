"""The ladder VAE: several levels of latent vectors, inferred by correcting what the program expects."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.errors import InvalidArgument
from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.networks.ladder import Rung
from ppgen.models.networks.mlp import mlp
from ppgen.models.observation import Likelihoods, default_likelihood, observation
from ppgen.models.pyro_family import PyroFamily, seeded
from ppgen.models.vae.vae import OBJECTIVES
from ppgen.program.likelihood import Likelihood

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(PyroFamily):
    r"""A ladder VAE, whose latent vectors :math:`z_L, …, z_1` are drawn from the top down.

    .. math:: z_L \sim N(0, I), \qquad z_l \mid z_{>l} \sim N(m_l(z_{>l}), I), \qquad
        x \mid z \sim p(x \mid \mathrm{decoder}(z_1, …, z_L))

    The guide goes down with the program. At each level it corrects what the program expects by what the row
    tells, which is read on the way up without noise:

    .. math:: q(z_l \mid z_{>l}, x) = N(m_l(z_{>l}) + d_l(x), \; s_l(x)^2)

    The paper of 2016 multiplies two Gaussians, what is expected and what is told, where this one adds. There
    a row's influence on a location is in proportion to its precision: a level that has not yet learned
    anything cannot begin to, unless training is warmed up. The scale of 1 is there for a like reason: as long
    as the decoder makes nothing of a latent vector, it is noise to it, and a learned scale would go to zero.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        latent_dims: the lengths of the latent vectors, from :math:`z_1`, next to the data, to the top.
        width: of hidden layers, and of the state that is handed from level to level.
        likelihood: of an entry given the latent vectors, as for :class:`~ppgen.models.VAE`.
        dropout: in training, on the way up and in the decoder.
        noise_scale: as for :class:`~ppgen.models.VAE`.
        classes: how many classes the rows have, for a model of rows given their label.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range, or the likelihood does not fit the levels.

    References:
        Sønderby, Raiko, Maaløe, Sønderby and Winther, *Ladder Variational Autoencoders*, 2016,
        arXiv:1602.02282; Vahdat and Kautz, *NVAE: A Deep Hierarchical Variational Autoencoder*, 2020,
        arXiv:2007.03898 (the guide as a correction).

    Example:
        >>> ladder = HierarchicalVAE((2, 2), levels=3, latent_dims=(3, 2), width=8)
        >>> ladder.sample(5, seed=0).shape
        (5, 2, 2)
        >>> ladder.log_prob(np.zeros((10, 2, 2), int), samples=8).kind
        'lower_bound'
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        latent_dims: tuple[int, ...] = (16, 8, 4),
        width: int = 256,
        likelihood: Likelihoods | None = None,
        dropout: float = 0.2,
        noise_scale: float | None = None,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        likelihood = likelihood or default_likelihood(levels)
        config = {
            "latent_dims": _check_some(check_sizes("latent_dims", latent_dims)),
            "width": check_positive("width", width),
            "likelihood": likelihood,
            "dropout": check_fraction("dropout", dropout),
            "noise_scale": noise_scale,
            "seed": seed,
        }
        super().__init__(shape, levels, config, OBJECTIVES, classes=classes)
        extra = self.classes or 0
        with seeded(seed):
            self.observation = observation(likelihood, self.shape, levels, noise_scale)
            below = (self.dims + extra, *(width for _ in latent_dims[1:]))
            top = len(latent_dims)
            self.rungs = nn.ModuleList(
                Rung(size, width, inputs, dropout, top=level == top, bottom=level == 1)
                for level, (size, inputs) in enumerate(zip(latent_dims, below, strict=True), start=1)
            )
            self.start = nn.Linear(extra, width) if extra and top > 1 else None
            outputs = self.dims * self.observation.numbers
            self.decoder = mlp(sum(latent_dims) + extra, (width, width), outputs, dropout)
        self.eval()

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``zL``, …, ``z1`` and ``x``.

        Args:
            x: rows ``(n, *shape)`` to observe.
            n: how many rows to sample, where none are given.
            label: the class of each row ``(n,)``, for a model with classes.
        """
        self.register()
        n = n if x is None else len(x)
        with pyro.plate("rows", n):
            state = self._state_at_the_top(n, label)  # (n, width)
            drawn = []  # each (n, latent_dims[l]), from the top
            for name, rung in self._from_the_top():
                drawn.append(pyro.sample(name, dist.Normal(rung.expect(state), 1.0).to_event(1)))
                state = rung.descend(state, drawn[-1])
            latent = self._with_class(torch.cat(drawn, -1), label)
            outputs = self.decoder(latent).unflatten(-1, (*self.shape, -1))  # (n, *shape, numbers)
            observed = None if x is None else x.to(outputs.dtype)
            return pyro.sample("x", self.in_data_units(self.observation(outputs)), obs=observed)

    def guide(self, x: Tensor, label: Tensor | None = None) -> None:
        """The guide: up from the rows ``x (n, *shape)`` without noise, then down, site after site."""
        self.register()
        features = self._upwards(x, label)
        with pyro.plate("rows", len(x)):
            state = self._state_at_the_top(len(x), label)
            for name, rung in self._from_the_top():
                shift, log_scale = rung.read(features.pop())
                posterior = dist.Normal(rung.expect(state) + shift, log_scale.exp())
                z = pyro.sample(name, posterior.to_event(1))
                state = rung.descend(state, z)

    def sample(self, n: int, *, seed: int = 0, label: Any = None) -> np.ndarray:
        """Draw ``(n, *shape)`` rows in the data's own values; arguments as of :class:`~ppgen.models.VAE`."""
        return self._draw(n, seed, lambda size, label=None: self.model(n=size, label=label), label)

    def log_prob(self, x: Any, *, label: Any = None, samples: int = 64, seed: int = 0) -> Likelihood:
        """The importance-weighted lower bound on the log density of each row of ``x (n, *shape)``.

        Args:
            x: rows in the data's own values.
            label: the class of each row, for a density given the class; by default classes are summed out.
            samples: draws from the guide a row; 1 gives the ELBO, more a tighter bound.
            seed: seed of the draws.
        """
        return self._bound(x, self.guide, samples, seed, label)

    def _from_the_top(self) -> list[tuple[str, Rung]]:
        named = [(f"z{level}", cast(Rung, rung)) for level, rung in enumerate(self.rungs, start=1)]
        return named[::-1]

    def _upwards(self, x: Tensor, label: Tensor | None) -> list[Tensor]:
        features = self._with_class(self.as_input(x).flatten(1), label)
        each = []  # (n, width) for each level, from the data up
        for _, rung in reversed(self._from_the_top()):
            features = rung.up(features)
            each.append(features)
        return each

    def _with_class(self, vectors: Tensor, label: Tensor | None) -> Tensor:
        if label is None or self.classes is None:
            return vectors
        return torch.cat([vectors, F.one_hot(label, self.classes).to(vectors.dtype)], -1)

    def _state_at_the_top(self, n: int, label: Tensor | None) -> Tensor:
        if self.start is None or label is None or self.classes is None:
            return self.loc.new_zeros(n, self.config["width"])
        return self.start(F.one_hot(label, self.classes).to(self.loc.dtype))


def _check_some(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if not sizes:
        raise InvalidArgument(
            "latent_dims",
            got="()",
            expected="the lengths of latent vectors, such as (16, 8, 4)",
            fix="Write latent_dims=(16,) for one level.",
        )
    return sizes
