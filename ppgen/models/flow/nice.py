"""NICE: additive coupling layers, and a scale for each entry."""

from __future__ import annotations

from torch import nn

from ppgen.models.flow.family import DROPOUT, LayeredFlow
from ppgen.models.networks.coupling import additive_coupling_map

__all__ = ["NICE"]


class NICE(LayeredFlow):
    r"""Non-linear independent components estimation: additive coupling.

    .. math:: f_\ell(y)_A = y_A, \quad f_\ell(y)_B = y_B + m_\ell(y_A), \qquad
        f = e^{s} \odot (f_L \circ \dots \circ f_1)

    A and B are the entries at even and odd positions, and alternate. Shifts preserve volume, so that the
    log-determinant is :math:`\sum_i s_i`, the same everywhere.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Dinh, Krueger and Bengio, *NICE: Non-linear Independent Components Estimation*, 2014, arXiv:1410.8516.

    Example:
        >>> flow = NICE((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind
        'exact'
    """

    name = "nice"
    summary = (
        "volume-preserving flow of shifts; exact for continuous data, else a lower bound; fast both ways"
    )

    dropout: float = DROPOUT

    def make_map(self) -> nn.Module:
        """Additive coupling layers."""
        return additive_coupling_map(
            self.dims, self.context, transforms=self.transforms, hidden=self.hidden, dropout=self.dropout
        )
