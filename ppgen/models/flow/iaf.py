"""The inverse autoregressive flow: fast samples, densities entry by entry."""

from __future__ import annotations

from ppgen.models.checks import check_positive, check_sizes
from ppgen.models.flow.family import Dequantization, FlowFamily
from ppgen.models.networks.invertible import Inverse
from ppgen.models.networks.masked_affine import masked_affine_map
from ppgen.models.pyro_family import seeded

__all__ = ["IAF"]


class IAF(FlowFamily):
    r"""An inverse autoregressive flow: the masked autoregressive map, from noise to data.

    .. math:: y_i = e^{s_i(u_{<i})} \, u_i + m_i(u_{<i})

    in each layer; every second layer reads the noise backwards. A sample is one pass; the density takes one
    pass an entry and layer, and so does each row of a training step: meant for few entries, or as a guide.
    Gradients take none of these passes, but the inverse of a Jacobian for each row.

    Args:
        shape: the shape of one row, for example ``(2,)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        transforms: how many layers.
        hidden: widths of each layer's network.
        classes: how many classes the rows have, for a model of rows given their class.
        dequantization: of discrete rows, ``"uniform"``, or ``"variational"`` for a learned guide.
        seed: seed of the initial weights.

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

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        transforms: int = 3,
        hidden: tuple[int, ...] = (256, 256),
        classes: int | None = None,
        dequantization: Dequantization = "uniform",
        seed: int = 0,
    ) -> None:
        config = {
            "transforms": check_positive("transforms", transforms),
            "hidden": check_sizes("hidden", hidden),
        }
        super().__init__(shape, levels, config, classes=classes, dequantization=dequantization, seed=seed)
        with seeded(seed):
            # No dropout: to invert a layer takes several passes, which must all see the same network.
            from_noise = masked_affine_map(self.dims, self.context, transforms=transforms, hidden=hidden)
        self.map = Inverse(from_noise)
        self.eval()
