"""Training by maximum likelihood, for programs without latent sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ppgen.inference.training.objectives.objective import Batch

__all__ = ["MaximumLikelihood"]


@dataclass(frozen=True)
class MaximumLikelihood:
    r"""Maximise :math:`\sum_i \log p(x_i)`."""

    name: ClassVar[str] = "likelihood"
    requires: ClassVar[type] = object

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, in nats."""
        return -subject.log_density(batch)
