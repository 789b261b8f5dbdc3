"""Training by lower bounds on the likelihood, for programs with a guide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ppgen.errors import InvalidArgument
from ppgen.inference.training.objectives.objective import Batch
from ppgen.inference.training.settings import check_count

__all__ = ["ELBO", "ImportanceWeighted", "Renyi", "WakeSleep"]


@dataclass(frozen=True)
class ELBO:
    r"""Maximise :math:`\mathbb{E}_q[\log p(x, z) - \log q(z \mid x)]` over program and guide together.

    Attributes:
        samples: draws from the guide for each row and step.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.
    """

    name: ClassVar[str] = "elbo"

    samples: int = 1

    def __post_init__(self) -> None:
        check_count("samples", self.samples, example=8)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, in nats."""
        return -subject.elbo(batch, self.samples)


@dataclass(frozen=True)
class ImportanceWeighted:
    r"""Maximise the importance-weighted bound :math:`\log \frac1S \sum_s p(x, z_s) / q(z_s \mid x)`.

    Attributes:
        samples: draws from the guide for each row and step.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """

    name: ClassVar[str] = "iwae"

    samples: int = 8

    def __post_init__(self) -> None:
        check_count("samples", self.samples, example=8)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, in nats."""
        return -subject.importance_weighted(batch, self.samples)


@dataclass(frozen=True)
class Renyi:
    r"""Maximise Rényi's bound :math:`\frac{1}{1-\alpha} \log \frac1S \sum_s w_s^{1-\alpha}`.

    It lies between the importance-weighted bound (:math:`\alpha = 0`) and the ELBO (:math:`\alpha \to 1`).

    Attributes:
        samples: draws from the guide for each row and step.
        alpha: the order, in [0, 1).

    References:
        Li and Turner, *Rényi Divergence Variational Inference*, 2016, arXiv:1602.02311.
    """

    name: ClassVar[str] = "renyi"

    samples: int = 8
    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_count("samples", self.samples, example=8)
        if not 0 <= self.alpha < 1:
            raise InvalidArgument(
                "alpha",
                got=repr(self.alpha),
                expected="an order from 0 up to but not 1",
                fix='Write alpha=0.5; objective="elbo" is the limit at 1.',
            )

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, in nats."""
        return -subject.renyi(batch, self.samples, self.alpha)


@dataclass(frozen=True)
class WakeSleep:
    r"""Reweighted wake-sleep: no gradient runs through the draws, so that they may be discrete.

    The program follows :math:`\sum_s \bar w_s \nabla \log p(x, z_s)`, the guide
    :math:`\sum_s \bar w_s \nabla \log q(z_s \mid x)`, with the importance weights :math:`\bar w` held fixed.
    The loss that is shown is the importance-weighted bound.

    Attributes:
        samples: draws from the guide for each row and step.

    References:
        Bornschein and Bengio, *Reweighted Wake-Sleep*, 2014, arXiv:1406.2751.
    """

    name: ClassVar[str] = "wake_sleep"

    samples: int = 8

    def __post_init__(self) -> None:
        check_count("samples", self.samples, example=8)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each row ``(n,)``, in nats."""
        return -subject.wake_sleep(batch, self.samples)
