"""The masked autoregressive flow: fast densities, samples entry by entry."""

from __future__ import annotations

from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.flow.family import Dequantization, FlowFamily
from ppgen.models.networks.masked_affine import masked_affine_map
from ppgen.models.pyro_family import seeded

__all__ = ["MAF"]


class MAF(FlowFamily):
    r"""A masked autoregressive flow.

    .. math:: u_i = e^{s_i(y_{<i})} \, y_i + m_i(y_{<i})

    in each layer; every second layer reads the row backwards. The density is one pass, a sample takes one
    pass an entry and layer.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        transforms: how many layers.
        hidden: widths of each layer's network.
        dropout: on the hidden layers, in training.
        classes: how many classes the rows have, for a model of rows given their class.
        dequantization: of discrete rows, ``"uniform"``, or ``"variational"`` for a learned guide.
        seed: seed of the initial weights.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 5,
        hidden: tuple[int, ...] = (256, 256),
        dropout: float = 0.0,
        classes: int | None = None,
        dequantization: Dequantization = "uniform",
        seed: int = 0,
    ) -> None:
        config = {
            "transforms": check_positive("transforms", transforms),
            "hidden": check_sizes("hidden", hidden),
            "dropout": check_fraction("dropout", dropout),
        }
        super().__init__(shape, levels, config, classes=classes, dequantization=dequantization, seed=seed)
        with seeded(seed):
            self.map = masked_affine_map(
                self.dims, self.context, transforms=transforms, hidden=hidden, dropout=dropout
            )
        self.eval()
