"""The masked autoencoder: a perceptron that says all conditionals in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.conditionals import Sharpening
from ppgen.models.autoregressive.family import AutoregressiveFamily
from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.distributions import PyroDistribution
from ppgen.models.distributions.orders import OrderMixture
from ppgen.models.networks.made import MaskedPerceptron
from ppgen.models.pyro_family import seeded

__all__ = ["MADE"]


class MADE(AutoregressiveFamily):
    r"""A masked autoencoder for distribution estimation, perhaps in several orders.

    .. math:: p(x) = \frac1K \sum_{k=1}^{K} \prod_{t=1}^{d} p_k(x_{k(t)} \mid x_{k(1)}, \dots, x_{k(t - 1)})

    A perceptron's weights are masked so that each output reads only the entries before its own. With
    several orders k the same weights have masks for each; a step of training takes one order at random, and
    the model is the mixture of all, whose density is exact too. A draw takes d steps, which together compute
    each hidden unit once.

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        hidden: widths of the hidden layers.
        orders: how many orders; the first is the reading order.
        dropout: on the hidden layers, in training.
        components: Gaussians in each conditional of continuous data.
        classes: how many classes the rows have, as an input that comes first; ``None`` for rows without.
        seed: seed of the initial weights and of the orders.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        hidden: tuple[int, ...] = (512,),
        orders: int = 1,
        dropout: float = 0.3,
        components: int = 8,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        config = {
            "hidden": check_sizes("hidden", hidden),
            "orders": check_positive("orders", orders),
            "dropout": check_fraction("dropout", dropout),
            "components": check_positive("components", components),
            "seed": seed,
        }
        if not hidden:
            raise InvalidArgument(
                "hidden",
                got="no hidden layers",
                expected="at least one",
                fix="Write hidden=(512,); FVSBN is the model without hidden layers.",
            )
        super().__init__(shape, levels, config, objectives=("likelihood",), classes=classes)
        self.orders = orders
        with seeded(seed):
            self.network = MaskedPerceptron(
                self.dims,
                levels,
                self.outputs(components),
                hidden=hidden,
                orders=orders,
                dropout=dropout,
                classes=classes,
            )
        self.eval()

    def chain(self, sharpening: Sharpening, label: Tensor | None) -> PyroDistribution:
        """The mixture over the orders; in training, the density in one of them, drawn at random."""
        if self.training and self.orders > 1:
            return self.in_order(self.network.in_order(torch.randint(self.orders, ())), sharpening, label)
        if self.orders == 1:
            return self.in_order(self.network.in_order(0), sharpening, label)
        networks = [self.network.in_order(k) for k in range(self.orders)]
        batch = () if label is None else tuple(label.shape)
        return OrderMixture(networks, sharpening.conditional(self.levels), self.shape, batch, label)
