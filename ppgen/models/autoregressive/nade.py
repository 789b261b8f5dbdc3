"""The neural autoregressive distribution estimator: a hidden layer that reads one more entry per step."""

from __future__ import annotations

from ppgen.models.autoregressive.family import COMPONENTS, AutoregressiveFamily
from ppgen.models.networks.nade import SharedHidden
from ppgen.models.settings import setting

__all__ = ["NADE"]


class NADE(AutoregressiveFamily):
    r"""A neural autoregressive distribution estimator.

    .. math:: h_t = \sigma\Big(c + \sum_{s < t} W_s x_s\Big), \qquad
        p(x_t = 1 \mid x_{<t}) = \sigma(b_t + V_t h_t)

    The weights W are shared by all conditionals, so that all hidden layers together cost as much as
    one: their sums grow by one term per step. With more than two levels the outputs are a softmax; without
    levels, a mixture of Gaussians (RNADE).

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

    hidden: int = setting(default=256, doc="how many hidden units")
    dropout: float = setting(default=0.3, least=0.0, below=1.0, doc="on the hidden units, in training")
    components: int = COMPONENTS

    def conditionals(self) -> SharedHidden:
        """A hidden layer that all conditionals share."""
        return SharedHidden(
            self.dims,
            self.levels,
            self.outputs(self.components),
            hidden=self.hidden,
            dropout=self.dropout,
            classes=self.classes,
        )
