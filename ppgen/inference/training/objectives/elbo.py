"""Training by lower bounds on the likelihood, for programs with a guide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from ppgen.checks import check_integer, check_number
from ppgen.program import bounds
from ppgen.program.capabilities import HasGuide
from ppgen.program.languages.rows import Batch

__all__ = ["ELBO", "Bound", "ImportanceWeighted", "Renyi", "WakeSleep"]


@dataclass(frozen=True)
class Bound(ABC):
    """A lower bound that is maximised, a function of log densities at draws of the guide.

    Attributes:
        fixed_draws: whether draws are constants, through which no gradient runs.
        samples: draws from the guide per example and step.
    """

    name: ClassVar[str]
    requires: ClassVar[type] = HasGuide
    fixed_draws: ClassVar[bool] = False

    samples: int = 8

    def __post_init__(self) -> None:
        check_integer("samples", self.samples, example=8)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The loss of each example ``(n,)``, in nats."""
        return -self.bound(subject.log_joints(batch, self.samples, fixed_draws=self.fixed_draws))

    @abstractmethod
    def bound(self, joints: bounds.LogJoints) -> Any:
        """The bound of each example ``(n,)``."""


@dataclass(frozen=True)
class ELBO(Bound):
    r"""Maximise :math:`\mathbb{E}_q[\log p(x, z) - \log q(z \mid x)]` over program and guide together.

    Attributes:
        samples: draws from the guide per example and step.

    References:
        Kingma and Welling, *Auto-Encoding Variational Bayes*, 2013, arXiv:1312.6114.
    """

    name: ClassVar[str] = "elbo"

    samples: int = 1

    def bound(self, joints: bounds.LogJoints) -> Any:
        """The bound of each example ``(n,)``."""
        return bounds.elbo(joints)


@dataclass(frozen=True)
class ImportanceWeighted(Bound):
    r"""Maximise the importance-weighted bound :math:`\log \frac1S \sum_s p(x, z_s) / q(z_s \mid x)`.

    Attributes:
        samples: draws from the guide per example and step.

    References:
        Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*, 2015, arXiv:1509.00519.
    """

    name: ClassVar[str] = "iwae"

    def bound(self, joints: bounds.LogJoints) -> Any:
        """The bound of each example ``(n,)``."""
        return bounds.importance_weighted(joints)


@dataclass(frozen=True)
class Renyi(Bound):
    r"""Maximise Rényi's bound :math:`\frac{1}{1-\alpha} \log \frac1S \sum_s w_s^{1-\alpha}`.

    It lies between the importance-weighted bound (:math:`\alpha = 0`) and the ELBO (:math:`\alpha \to 1`).

    Attributes:
        samples: draws from the guide per example and step.
        alpha: the order, in [0, 1).

    References:
        Li and Turner, *Rényi Divergence Variational Inference*, 2016, arXiv:1602.02311.
    """

    name: ClassVar[str] = "renyi"

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("alpha", self.alpha, least=0.0, below=1.0, example=0.5)

    def bound(self, joints: bounds.LogJoints) -> Any:
        """The bound of each example ``(n,)``."""
        return bounds.renyi(joints, self.alpha)


@dataclass(frozen=True)
class WakeSleep(Bound):
    r"""Reweighted wake-sleep: no gradient runs through the draws, so that they may be discrete.

    The program follows :math:`\sum_s \bar w_s \nabla \log p(x, z_s)`, the guide
    :math:`\sum_s \bar w_s \nabla \log q(z_s \mid x)`, with constant importance weights :math:`\bar w`.
    The reported loss is the importance-weighted bound.

    Attributes:
        samples: draws from the guide per example and step.

    References:
        Bornschein and Bengio, *Reweighted Wake-Sleep*, 2014, arXiv:1406.2751.
    """

    name: ClassVar[str] = "wake_sleep"
    fixed_draws: ClassVar[bool] = True

    def bound(self, joints: bounds.LogJoints) -> Any:
        """The bound of each example ``(n,)``."""
        return bounds.wake_sleep(joints)
