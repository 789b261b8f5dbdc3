"""RealNVP: affine coupling layers, which shift and scale half of the entries given the other half."""

from __future__ import annotations

from torch import nn

from ppgen.models.flow.family import DROPOUT, LayeredFlow
from ppgen.models.networks.coupling import affine_coupling_map

__all__ = ["RealNVP"]


class RealNVP(LayeredFlow):
    r"""Real-valued non-volume-preserving transformations: affine coupling.

    .. math:: f_\ell(y)_A = y_A, \qquad f_\ell(y)_B = e^{s_\ell(y_A)} \odot y_B + m_\ell(y_A)

    A and B are the entries at even and odd positions, and alternate. Density and samples take one pass each.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Dinh, Sohl-Dickstein and Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.

    Example:
        >>> flow = RealNVP((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind
        'exact'
    """

    name = "realnvp"
    summary = "flow of affine coupling layers; exact for continuous data, else a lower bound; fast both ways"

    transforms: int = 6
    dropout: float = DROPOUT

    def make_map(self) -> nn.Module:
        """Affine coupling layers."""
        return affine_coupling_map(
            self.dims, self.context, transforms=self.transforms, hidden=self.hidden, dropout=self.dropout
        )
