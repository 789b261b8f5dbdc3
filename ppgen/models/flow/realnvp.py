"""RealNVP: layers that shift and scale half of a row by what the other half says."""

from __future__ import annotations

from ppgen.models.checks import check_fraction, check_positive, check_sizes
from ppgen.models.flow.family import Dequantization, FlowFamily
from ppgen.models.networks.coupling import affine_coupling_map
from ppgen.models.pyro_family import seeded

__all__ = ["RealNVP"]


class RealNVP(FlowFamily):
    r"""Real-valued non-volume-preserving transformations: affine coupling.

    .. math:: f_\ell(y)_A = y_A, \qquad f_\ell(y)_B = e^{s_\ell(y_A)} \odot y_B + m_\ell(y_A)

    A and B are the entries at even and at odd places, and take turns. Density and samples are one pass each.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 6,
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
            self.map = affine_coupling_map(
                self.dims, self.context, transforms=transforms, hidden=hidden, dropout=dropout
            )
        self.eval()
