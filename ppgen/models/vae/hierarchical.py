"""The ladder VAE: several levels of latent vectors, inferred by correcting what the program predicts."""

from __future__ import annotations

from typing import cast

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.models.networks.ladder import Rung
from ppgen.models.networks.mlp import mlp
from ppgen.models.settings import setting
from ppgen.models.vae.family import LatentFamily

__all__ = ["HierarchicalVAE"]


class HierarchicalVAE(LatentFamily):
    r"""A ladder VAE, whose latent vectors :math:`z_L, …, z_1` are drawn from the top down.

    .. math:: z_L \sim N(0, I), \qquad z_l \mid z_{>l} \sim N(m_l(z_{>l}), I), \qquad
        x \mid z \sim p(x \mid \mathrm{decoder}(z_1, …, z_L))

    The guide follows the program downwards. At each level it corrects the program's prediction by what a
    deterministic upward pass has read from the data:

    .. math:: q(z_l \mid z_{>l}, x) = N(m_l(z_{>l}) + d_l(x), \; s_l(x)^2)

    The 2016 paper multiplies two Gaussians, the prediction and the evidence, where this one adds. There the
    evidence counts in proportion to its precision, so that an untrained level cannot start to learn without
    a warm-up. The fixed scale of 1 is there for a similar reason: while the decoder ignores a latent vector,
    it is noise, and a learned scale would go to zero.

    Raises:
        InvalidArgument: if a setting is out of range, or the likelihood does not fit the levels.

    References:
        Sønderby, Raiko, Maaløe, Sønderby and Winther, *Ladder Variational Autoencoders*, 2016,
        arXiv:1602.02282; Vahdat and Kautz, *NVAE: A Deep Hierarchical Variational Autoencoder*, 2020,
        arXiv:2007.03898 (the guide as a correction).

    Example:
        >>> import numpy as np
        >>> ladder = HierarchicalVAE((2, 2), levels=3, latent_dims=(3, 2), width=8)
        >>> ladder.sample(5, seed=0).shape
        (5, 2, 2)
        >>> ladder.log_prob(np.zeros((10, 2, 2), int), samples=8).kind
        'lower_bound'
    """

    name = "hierarchical-vae"
    summary = "ladder of latent vectors, inferred from the top down; lower bound"

    latent_dims: tuple[int, ...] = setting(
        default=(16, 8, 4),
        at_least=1,
        example=(16, 8, 4),
        doc="the lengths of the latent vectors, from :math:`z_1`, next to the data, to the top",
    )
    width: int = setting(
        default=256, doc="of hidden layers, and of the state that is handed from level to level"
    )
    dropout: float = setting(
        default=0.2, least=0.0, below=1.0, doc="in training, on the way up and in the decoder"
    )

    def build(self) -> None:
        """Make the rungs of the ladder, and the decoder."""
        super().build()
        extra, width, dropout, top = self.classes or 0, self.width, self.dropout, len(self.latent_dims)
        below = (self.dims + extra, *(width for _ in self.latent_dims[1:]))
        self.rungs = nn.ModuleList(
            Rung(size, width, inputs, dropout, top=level == top, bottom=level == 1)
            for level, (size, inputs) in enumerate(zip(self.latent_dims, below, strict=True), start=1)
        )
        self.start = nn.Linear(extra, width) if extra and top > 1 else None
        outputs = self.dims * self.observation.numbers
        self.decoder = mlp(sum(self.latent_dims) + extra, (width, width), outputs, dropout)

    def model(self, x: Tensor | None = None, n: int = 1, label: Tensor | None = None) -> Tensor:
        """The program: sites ``zL``, …, ``z1`` and ``x``.

        Args:
            x: examples ``(n, *shape)`` to observe.
            n: how many examples to sample if ``x`` is not given.
            label: the class of each example ``(n,)``, for a model with classes.
        """
        self.register()
        n = n if x is None else len(x)
        with pyro.plate("rows", n):
            state = self._state_at_the_top(n, label)  # (n, width)
            drawn = []  # each (n, latent_dims[l]), from the top
            for name, rung in self._from_the_top():
                drawn.append(pyro.sample(name, dist.Normal(rung.expect(state), 1.0).to_event(1)))
                state = rung.descend(state, drawn[-1])
            latent = self.with_class(torch.cat(drawn, -1), label)
            observed = None if x is None else x.to(latent.dtype)
            return pyro.sample("x", self.rows_given(latent), obs=observed)

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

    def _from_the_top(self) -> list[tuple[str, Rung]]:
        named = [(f"z{level}", cast(Rung, rung)) for level, rung in enumerate(self.rungs, start=1)]
        return named[::-1]

    def _upwards(self, x: Tensor, label: Tensor | None) -> list[Tensor]:
        features = self.with_class(self.as_input(x).flatten(1), label)
        each = []  # (n, width) for each level, from the data up
        for _, rung in reversed(self._from_the_top()):
            features = rung.up(features)
            each.append(features)
        return each

    def _state_at_the_top(self, n: int, label: Tensor | None) -> Tensor:
        one_hot = self.one_hot(label)
        if self.start is None or one_hot is None:
            return self.loc.new_zeros(n, self.width)
        return self.start(one_hot)
