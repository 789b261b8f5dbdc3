"""The inverse autoregressive flow: fast samples, densities entry by entry."""

from __future__ import annotations

from torch import nn

from ppgen.models.flow.family import LayeredFlow
from ppgen.models.networks.invertible import Inverse
from ppgen.models.networks.masked_affine import masked_affine_map

__all__ = ["IAF"]


class IAF(LayeredFlow):
    r"""An inverse autoregressive flow: the masked autoregressive map, from noise to data.

    .. math:: y_i = e^{s_i(u_{<i})} \, u_i + m_i(u_{<i})

    in each layer; every second layer reads the noise in reverse. A sample takes one pass; the density takes
    one pass per entry and layer, in training too: meant for few entries, or as a guide. Gradients need none
    of these passes, but the inverse of a Jacobian for each example.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Kingma et al., *Improving Variational Inference with Inverse Autoregressive Flow*, 2016,
        arXiv:1606.04934.

    Example:
        >>> flow = IAF((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind
        'exact'
    """

    name = "iaf"
    summary = (
        "inverse autoregressive flow; exact for continuous data, else a lower bound; fast to sample only"
    )

    transforms: int = 3

    def make_map(self) -> nn.Module:
        """Masked affine layers, from noise to data."""
        # No dropout: inverting a layer takes several passes, which must all use the same network.
        return Inverse(
            masked_affine_map(self.dims, self.context, transforms=self.transforms, hidden=self.hidden)
        )
