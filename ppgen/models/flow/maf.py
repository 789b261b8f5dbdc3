"""The masked autoregressive flow: fast densities, samples entry by entry."""

from __future__ import annotations

from torch import nn

from ppgen.models.flow.family import DROPOUT, LayeredFlow
from ppgen.models.networks.masked_affine import masked_affine_map

__all__ = ["MAF"]


class MAF(LayeredFlow):
    r"""A masked autoregressive flow.

    .. math:: u_i = e^{s_i(y_{<i})} \, y_i + m_i(y_{<i})

    in each layer; every second layer reads the entries in reverse. The density takes one pass, a sample one
    pass per entry and layer.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Papamakarios, Pavlakou and Murray, *Masked Autoregressive Flow for Density Estimation*, 2017,
        arXiv:1705.07057.

    Example:
        >>> flow = MAF((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind
        'exact'
    """

    name = "maf"
    summary = "masked autoregressive flow; exact for continuous data, else a lower bound; slow to sample"

    transforms: int = 5
    dropout: float = DROPOUT

    def make_map(self) -> nn.Module:
        """Masked affine layers, from data to noise."""
        return masked_affine_map(
            self.dims, self.context, transforms=self.transforms, hidden=self.hidden, dropout=self.dropout
        )
