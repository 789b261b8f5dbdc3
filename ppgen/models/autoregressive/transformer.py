"""The transformer: every entry attends to all those before it."""

from __future__ import annotations

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.family import AutoregressiveFamily
from ppgen.models.checks import check_fraction, check_positive
from ppgen.models.networks.entries import value_embedding
from ppgen.models.networks.transformer import Decoder
from ppgen.models.pyro_family import seeded

__all__ = ["Transformer"]


class Transformer(AutoregressiveFamily):
    r"""A decoder-only transformer over the entries of a row, in reading order.

    .. math:: p(x) = \prod_{t=1}^{d} p(x_t \mid x_{<t})

    With ``levels`` each conditional is a categorical; without, a mixture of Gaussians. Rows of text are
    rows of levels (:mod:`ppgen.data.text`).

    Args:
        shape: the shape of one row, for example ``(8, 8)``.
        levels: how many values a discrete entry can take; ``None`` for continuous data.
        width, layers, heads: the transformer's size; the width is a multiple of the heads.
        dropout: on the embeddings and residual branches, in training.
        components: Gaussians in each conditional of continuous data.
        classes: how many classes the rows have, for p(x | class); ``None`` for rows without.
        seed: seed of the initial weights.

    Raises:
        InvalidArgument: if a setting is out of range.

    References:
        van den Oord, Kalchbrenner and Kavukcuoglu, *Pixel Recurrent Neural Networks*, 2016, arXiv:1601.06759;
        Chen et al., *Generative Pretraining from Pixels*, ICML 2020.

    Example:
        >>> import numpy as np
        >>> coins = Transformer((2,), levels=2, width=8, layers=1, heads=2)
        >>> ll = coins.log_prob([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> ll.kind, round(float(np.exp(ll.values).sum()), 5)
        ('exact', 1.0)
        >>> coins.sample(100, seed=0).shape
        (100, 2)
    """

    name = "transformer"
    summary = "autoregressive transformer, one entry after the other; exact likelihood; slow to sample"

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int | None = None,
        *,
        width: int = 64,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
        components: int = 8,
        classes: int | None = None,
        seed: int = 0,
    ) -> None:
        config = {
            "width": check_positive("width", width),
            "layers": check_positive("layers", layers),
            "heads": check_positive("heads", heads),
            "dropout": check_fraction("dropout", dropout),
            "components": check_positive("components", components),
            "seed": seed,
        }
        _check_heads(width, heads)
        super().__init__(shape, levels, config, objectives=("likelihood",), classes=classes)
        with seeded(seed):
            self.network = Decoder(
                value_embedding(levels, width),
                self.shape,
                self.outputs(components),
                width=width,
                layers=layers,
                heads=heads,
                dropout=dropout,
                classes=classes,
            )
        self.eval()


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise InvalidArgument(
            "width",
            got=f"{width} with heads={heads}",
            expected="a multiple of heads",
            fix=f"Write width={heads * max(1, round(width / heads))}.",
        )
