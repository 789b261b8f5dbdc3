"""The fully visible sigmoid belief network: every entry a logistic regression on those before it."""

from __future__ import annotations

from ppgen.errors import InvalidArgument
from ppgen.models.autoregressive.family import AutoregressiveFamily
from ppgen.models.networks.fvsbn import SigmoidBeliefNetwork
from ppgen.models.settings import setting

__all__ = ["FVSBN"]


class FVSBN(AutoregressiveFamily):
    r"""A fully visible sigmoid belief network.

    .. math:: p(x_t = 1 \mid x_{<t}) = \sigma\Big(b_t + \sum_{s < t} W_{ts} x_s\Big)

    With more than two levels each entry is a softmax regression on indicators of the levels before it. The
    log
    likelihood is concave in its weights: training finds the global optimum.

    Raises:
        InvalidArgument: if the data is continuous.

    References:
        Neal, *Connectionist learning of belief networks*, Artificial Intelligence 56, 1992; Frey, *Graphical
        Models for Machine Learning and Digital Communication*, 1998.

    Example:
        >>> import numpy as np
        >>> network = FVSBN((2,), levels=3)
        >>> every_row = np.indices((3, 3)).reshape(2, 9).T
        >>> round(float(np.exp(network.log_prob(every_row).values).sum()), 5)
        1.0
    """

    name = "fvsbn"
    summary = "fully visible sigmoid belief network, a logistic regression per entry; exact likelihood"

    levels: int | None = setting(default=2, kw_only=False, least=2, doc="how many values an entry can take")

    def conditionals(self) -> SigmoidBeliefNetwork:
        """Logistic or softmax regressions."""
        if self.levels is None:
            raise InvalidArgument(
                "levels",
                got="None, for continuous data",
                expected="how many values an entry can take",
                fix="Write levels=2 for binary data; NADE and MADE have continuous entries too.",
            )
        return SigmoidBeliefNetwork(self.dims, self.levels, self.classes)
