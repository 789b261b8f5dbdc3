"""Training by a lower bound, for programs with a guide."""

from __future__ import annotations

from dataclasses import dataclass

from ppgen.program.bounds import PerRow, RowTensor, elbo, importance_weighted
from ppgen.program.family import Program

__all__ = ["ELBO", "ImportanceWeighted"]


@dataclass(frozen=True)
class ELBO:
    r"""Maximise :math:`\mathbb{E}_q[\log p(x, z) - \log q(z \mid x)]` over program and guide together.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.
    """

    model: Program
    guide: Program
    samples: int

    def __call__(self, x: RowTensor) -> PerRow:
        """The loss of each row ``(n,)``, in nats."""
        return -elbo(self.model, self.guide, x, self.samples)


@dataclass(frozen=True)
class ImportanceWeighted:
    r"""Maximise the importance-weighted bound :math:`\log \frac1S \sum_s p(x, z_s) / q(z_s \mid x)`.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """

    model: Program
    guide: Program
    samples: int

    def __call__(self, x: RowTensor) -> PerRow:
        """The loss of each row ``(n,)``, in nats."""
        return -importance_weighted(self.model, self.guide, x, self.samples)
