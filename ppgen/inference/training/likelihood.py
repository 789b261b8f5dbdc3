"""Training by maximum likelihood, for programs that sample nothing but the rows."""

from __future__ import annotations

from dataclasses import dataclass

from ppgen.program.bounds import PerRow, RowTensor, log_density
from ppgen.program.family import Program

__all__ = ["MaximumLikelihood"]


@dataclass(frozen=True)
class MaximumLikelihood:
    r"""Maximise :math:`\sum_i \log p(x_i)`."""

    model: Program

    def __call__(self, x: RowTensor) -> PerRow:
        """The loss of each row ``(n,)``, in nats."""
        return -log_density(self.model, x)
