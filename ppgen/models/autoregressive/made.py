"""The masked autoencoder: a perceptron that predicts all conditionals in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from ppgen.models.autoregressive.conditionals import Sharpening
from ppgen.models.autoregressive.family import COMPONENTS, AutoregressiveFamily
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.orders import OrderMixture
from ppgen.models.networks.made import MaskedPerceptron
from ppgen.models.settings import setting

__all__ = ["MADE"]


class MADE(AutoregressiveFamily):
    r"""A masked autoencoder for distribution estimation, in one order or several.

    .. math:: p(x) = \frac1K \sum_{k=1}^{K} \prod_{t=1}^{d} p_k(x_{k(t)} \mid x_{k(1)}, \dots, x_{k(t - 1)})

    A perceptron's weights are masked so that each output reads only the entries before its own. With
    several orders k the same weights have masks for each; a step of training takes one order at random, and
    the model is the mixture of all, whose density is exact too. A draw takes d steps, which together compute
    each hidden unit once.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Germain, Gregor, Murray and Larochelle, *MADE: Masked Autoencoder for Distribution Estimation*, 2015,
        arXiv:1502.03509.

    Example:
        >>> import numpy as np
        >>> made = MADE((2,), levels=2, hidden=(8,), orders=2)
        >>> round(float(np.exp(made.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]]).values).sum()), 5)
        1.0
    """

    name = "made"
    summary = "masked autoencoder, in one order or several; exact likelihood; fast to train"

    hidden: tuple[int, ...] = setting(
        default=(512,), at_least=1, doc="widths of the hidden layers; FVSBN is the model without any"
    )
    orders: int = setting(default=1, doc="how many orders; the first is the reading order")
    dropout: float = setting(default=0.3, least=0.0, below=1.0, doc="on the hidden layers, in training")
    components: int = COMPONENTS

    def conditionals(self) -> MaskedPerceptron:
        """A perceptron with masks for each order."""
        return MaskedPerceptron(
            self.dims,
            self.levels,
            self.outputs(self.components),
            hidden=self.hidden,
            orders=self.orders,
            dropout=self.dropout,
            classes=self.classes,
        )

    def chain(self, sharpening: Sharpening, label: Tensor | None) -> PyroDistribution:
        """The mixture over the orders; in training, the density in one of them, drawn at random."""
        if self.training and self.orders > 1:
            return self.in_order(self.network.in_order(torch.randint(self.orders, ())), sharpening, label)
        if self.orders == 1:
            return self.in_order(self.network.in_order(0), sharpening, label)
        networks = [self.network.in_order(k) for k in range(self.orders)]
        batch = () if label is None else tuple(label.shape)
        return OrderMixture(networks, sharpening.conditional(self.levels), self.shape, batch, label)
