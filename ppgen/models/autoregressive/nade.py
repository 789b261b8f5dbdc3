"""The neural autoregressive distribution estimator: a hidden layer that reads one entry more a step."""

from __future__ import annotations

from ppgen.models.autoregressive.family import AutoregressiveFamily
from ppgen.models.checks import check_fraction, check_positive
from ppgen.models.networks.nade import SharedHidden
from ppgen.models.pyro_family import seeded

__all__ = ["NADE"]


class NADE(AutoregressiveFamily):
    r"""A neural autoregressive distribution estimator.

    .. math:: h_t = \sigma\Big(c + \sum_{s < t} W_s x_s\Big), \qquad
        p(x_t = 1 \mid x_{<t}) = \sigma(b_t + V_t h_t)

    The weights W are shared by all conditionals, so that all hidden layers together cost what one does:
    the sum in them grows by one term a step. With more than two levels the outputs are a softmax; without
    levels, a mixture of Gaussians (RNADE).

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        hidden: how many hidden units.
        dropout: on the hidden units, in training.
        components: Gaussians in each conditional of continuous data.
        classes: how many classes the rows have, each with hidden biases of its own.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Larochelle and Murray, *The Neural Autoregressive Distribution Estimator*, AISTATS 2011; Uria, Murray
        and Larochelle, *RNADE: The real-valued neural autoregressive density-estimator*, 2013,
        arXiv:1306.0186; Uria et al., *Neural Autoregressive Distribution Estimation*, 2016,
        arXiv:1605.02226.

    Example:
        >>> import numpy as np
        >>> nade = NADE((2,), levels=2, hidden=8)
        >>> round(float(np.exp(nade.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]]).values).sum()), 5)
        1.0
    """

    name = "nade"
    summary = "neural autoregressive estimator, one shared hidden layer; exact likelihood"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        hidden: int = 256,
        dropout: float = 0.3,
        components: int = 8,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        config = {
            "hidden": check_positive("hidden", hidden),
            "dropout": check_fraction("dropout", dropout),
            "components": check_positive("components", components),
            "seed": seed,
        }
        super().__init__(shape, levels, config, objectives=("likelihood",), classes=classes)
        with seeded(seed):
            self.network = SharedHidden(
                self.dims, levels, self.outputs(components), hidden=hidden, dropout=dropout, classes=classes
            )
        self.eval()
