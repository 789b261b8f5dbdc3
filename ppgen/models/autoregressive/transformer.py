"""The transformer: every entry attends to all those before it."""

from __future__ import annotations

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.family import COMPONENTS, AutoregressiveFamily
from ppgen.models.networks.entries import value_embedding
from ppgen.models.networks.transformer import Decoder
from ppgen.models.settings import setting

__all__ = ["Transformer"]


class Transformer(AutoregressiveFamily):
    r"""A decoder-only transformer over the entries of an example, in reading order.

    .. math:: p(x) = \prod_{t=1}^{d} p(x_t \mid x_{<t})

    With ``levels`` each conditional is a categorical; without, a mixture of Gaussians. Text is discrete data
    (:mod:`ppgen.data.text`).

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

    width: int = setting(default=64, doc="of the vectors at each position, a multiple of the heads")
    layers: int = setting(default=4, doc="how many blocks of attention and perceptron")
    heads: int = setting(default=4, doc="of each block's attention")
    dropout: float = setting(
        default=0.1, least=0.0, below=1.0, doc="on the embeddings and residual branches, in training"
    )
    components: int = COMPONENTS

    def conditionals(self) -> Decoder:
        """A decoder over the entries."""
        _check_heads(self.width, self.heads)
        return Decoder(
            value_embedding(self.levels, self.width),
            self.shape,
            self.outputs(self.components),
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            dropout=self.dropout,
            classes=self.classes,
        )


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise InvalidArgument(
            "width",
            got=f"{width} with heads={heads}",
            expected="a multiple of heads",
            fix=f"Write width={heads * max(1, round(width / heads))}.",
        )
