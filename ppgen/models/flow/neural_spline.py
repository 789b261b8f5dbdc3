"""The neural spline flow: each entry goes through a monotone spline whose knots the others set."""

from __future__ import annotations

from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.flow.family import Dequantization, FlowFamily
from ppgen.models.networks.spline import spline_map
from ppgen.models.pyro_family import seeded

__all__ = ["NeuralSplineFlow"]


class NeuralSplineFlow(FlowFamily):
    r"""A neural spline flow, autoregressive or coupled.

    .. math:: u_i = g_{k_i(y_{<i})}(y_i)

    in each layer, where :math:`g_k` is the monotone rational-quadratic spline through the knots k; every
    second layer reads the row backwards. The splines map a box onto itself, which levels fill exactly.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        transforms: how many spline layers.
        hidden: widths of the networks that set the splines' knots.
        bins: pieces of each spline.
        coupling: faster sampling, in two passes a layer instead of one an entry, at some loss of fit.
        dropout: on the hidden layers, in training.
        classes: how many classes the rows have, for a model of rows given their class.
        dequantization: of discrete rows, ``"uniform"``, or ``"variational"`` for a learned guide.
        seed: seed of the initial weights.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 3,
        hidden: tuple[int, ...] = (256, 256),
        bins: int = 8,
        coupling: bool = False,
        dropout: float = 0.0,
        classes: int | None = None,
        dequantization: Dequantization = "uniform",
        seed: int = 0,
    ) -> None:
        config = {
            "transforms": check_positive("transforms", transforms),
            "hidden": check_sizes("hidden", hidden),
            "bins": check_positive("bins", bins, least=2),
            "coupling": bool(coupling),
            "dropout": check_fraction("dropout", dropout),
        }
        super().__init__(shape, levels, config, classes=classes, dequantization=dequantization, seed=seed)
        with seeded(seed):
            self.map = spline_map(
                self.dims,
                self.context,
                transforms=transforms,
                hidden=hidden,
                bins=bins,
                coupling=coupling,
                dropout=dropout,
            )
        self.eval()
