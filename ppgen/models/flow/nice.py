"""NICE: layers that shift half of a row by what the other half says, and one scale for each entry."""

from __future__ import annotations

from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.flow.family import Dequantization, FlowFamily
from ppgen.models.networks.coupling import additive_coupling_map
from ppgen.models.pyro_family import seeded

__all__ = ["NICE"]


class NICE(FlowFamily):
    r"""Non-linear independent components estimation: additive coupling.

    .. math:: f_\ell(y)_A = y_A, \quad f_\ell(y)_B = y_B + m_\ell(y_A), \qquad
        f = e^{s} \odot (f_L \circ \dots \circ f_1)

    A and B are the entries at even and at odd places, and take turns. Shifts keep volumes, so that the
    log-determinant is :math:`\sum_i s_i`: the same for all rows.

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
        "flow of shifts that keep volumes; exact for continuous data, else a lower bound; fast both ways"
    )

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 4,
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
            self.map = additive_coupling_map(
                self.dims, self.context, transforms=transforms, hidden=hidden, dropout=dropout
            )
        self.eval()
