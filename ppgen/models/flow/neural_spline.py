"""The neural spline flow: monotone splines whose knots depend on the other entries."""

from __future__ import annotations

from torch import nn

from ppgen.models.flow.family import DROPOUT, LayeredFlow
from ppgen.models.networks.spline import spline_map
from ppgen.models.settings import setting

__all__ = ["NeuralSplineFlow"]


class NeuralSplineFlow(LayeredFlow):
    r"""A neural spline flow, autoregressive or coupled.

    .. math:: u_i = g_{k_i(y_{<i})}(y_i)

    in each layer, where :math:`g_k` is the monotone rational-quadratic spline through the knots k; every
    second layer reads the entries in reverse. The splines map a box onto itself, which
    levels fill exactly.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        Durkan, Bekasov, Murray and Papamakarios, *Neural Spline Flows*, 2019, arXiv:1906.04032.

    Example:
        >>> flow = NeuralSplineFlow((2,), transforms=2, hidden=(16,))
        >>> flow.sample(5, seed=0).shape
        (5, 2)
        >>> flow.log_prob([[0.0, 0.0]]).kind
        'exact'
        >>> NeuralSplineFlow((2,), levels=3, hidden=(16,)).log_prob([[0, 2]], samples=4).kind
        'lower_bound'
    """

    name = "flow"
    summary = "neural spline flow, an invertible map of noise; exact for continuous data, else a lower bound"

    on_a_box = True

    transforms: int = 3
    bins: int = setting(default=8, least=2, doc="pieces of each spline")
    coupling: bool = setting(
        default=False,
        doc="faster sampling, in two passes per layer instead of one per entry, at some loss of fit",
    )
    dropout: float = DROPOUT

    def make_map(self) -> nn.Module:
        """Splines whose knots masked networks set."""
        return spline_map(
            self.dims,
            self.context,
            transforms=self.transforms,
            hidden=self.hidden,
            bins=self.bins,
            coupling=self.coupling,
            dropout=self.dropout,
        )
