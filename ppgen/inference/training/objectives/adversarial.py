"""Training by a game: a critic estimates a divergence between data and samples, the sampler lowers it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ppgen.checks import check_choice, check_integer, check_number
from ppgen.inference.training.adversarial_learner import AdversarialLearner
from ppgen.inference.training.game import Game
from ppgen.inference.training.objectives.penalties import Score, r1_penalty
from ppgen.program.capabilities import HasDivergence
from ppgen.program.languages.rows import Batch

__all__ = ["DIVERGENCES", "Adversarial", "Divergence", "Divergences"]

Divergences = Literal["jensen_shannon", "kl", "reverse_kl", "pearson", "squared_hellinger"]


@dataclass(frozen=True)
class Divergence:
    r"""The two halves of the variational form of an f-divergence, as functions of the critic's number v.

    .. math:: D_f(P \Vert Q) = \int q \, f(p / q) = \max_v \; \mathbb{E}_P[g(v)] - \mathbb{E}_Q[f^*(g(v))]

    Attributes:
        on_data: :math:`g(v)`, which takes any number to where :math:`f^*` is defined.
        on_samples: :math:`f^*(g(v))`, with the convex conjugate :math:`f^*`.
    """

    on_data: Callable[[Tensor], Tensor]
    on_samples: Callable[[Tensor], Tensor]


DIVERGENCES: Mapping[str, Divergence] = MappingProxyType(
    {
        # ½ KL(P | M) + ½ KL(Q | M) with M = ½P + ½Q, at most log 2; the game of the first GAN
        "jensen_shannon": Divergence(
            lambda v: 0.5 * (math.log(2) - F.softplus(-v)), lambda v: 0.5 * (F.softplus(v) - math.log(2))
        ),
        # ∫ p log(p / q)
        "kl": Divergence(lambda v: v, lambda v: torch.exp(v - 1)),
        # ∫ q log(q / p)
        "reverse_kl": Divergence(lambda v: -torch.exp(-v), lambda v: v - 1),
        # ∫ (p - q)² / q
        "pearson": Divergence(lambda v: v, lambda v: v**2 / 4 + v),
        # ∫ (√p - √q)²
        "squared_hellinger": Divergence(lambda v: -torch.expm1(-v), torch.expm1),
    }
)


@dataclass(frozen=True)
class Adversarial:
    r"""Minimise an f-divergence between the rows and a program's samples, as a critic estimates it.

    .. math:: \min_\theta \max_T \; \mathbb{E}_{p_{\text{data}}}[T(x)] - \mathbb{E}_{p_\theta}[f^*(T(x))]
        \;\le\; D_f(p_{\text{data}} \Vert p_\theta)

    The program samples as many rows as it is given, and returns them; its density is never asked for. With a
    guide the critic judges rows with their latent values, :math:`T(x, z)`: those that the guide infers from
    real rows against those that the program made its rows of. A program without parameters stays as it is:
    then the critic alone learns, and the history's ``divergence`` estimates how far it is from the data.

    ``measures`` in the history are ``divergence``, the value of the game, a lower bound but for its noise and
    for rows that the critic knows by heart, and the losses ``critic`` and ``generator``; ``train`` is the
    divergence. No loss of a game says how good its samples are, since each depends on the opponent. ``valid``
    is therefore the energy distance between held-out rows and samples, which knows no critic, and cares more
    for the right modes than for sharp ones; or, where the program has no parameters, the critic's own loss.

    Attributes:
        f: ``"jensen_shannon"``, ``"kl"``, ``"reverse_kl"``, ``"pearson"`` or ``"squared_hellinger"``; by
            default the family's own, else the first.
        critic: a torch module that gives a number for each row, ``critic(x) -> (n,)``, with a guide
            ``critic(x, z)``, with classes ``critic(x, label=label)``; families have their own.
        critic_steps: how many minibatches train the critic for each that trains the program.
        penalty: weight of the squared slope of the critic at real rows (R1); 0 for none.
        saturating: let the program follow the gradient of the bound itself. That vanishes while the critic is
            sure; by default the program instead maximises what the critic takes real rows for.
        critic_rate: the critic's learning rate, in units of the program's.

    References:
        Goodfellow et al., *Generative Adversarial Networks*, 2014, arXiv:1406.2661; Nowozin, Cseke and
        Tomioka, *f-GAN*, 2016, arXiv:1606.00709; Mescheder, Geiger and Nowozin, 2018, arXiv:1801.04406 (R1);
        Donahue, Krähenbühl and Darrell, *Adversarial Feature Learning*, 2016, arXiv:1605.09782 (guides);
        Székely and Rizzo, *Energy Statistics*, 2013 (the energy distance).
    """

    name: ClassVar[str] = "adversarial"
    arrays: ClassVar[str] = "torch"
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)  # Radford et al., 2015, arXiv:1511.06434

    f: Divergences | None = None
    critic: Any = None
    critic_steps: int = 1
    penalty: float = 0.0
    saturating: bool = False
    critic_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.f is not None:
            check_choice("f", self.f, DIVERGENCES)
        check_integer("critic_steps", self.critic_steps)
        check_number("penalty", self.penalty, least=0.0, example=0.1)
        check_number("critic_rate", self.critic_rate, above=0.0, example=1.0)

    def __call__(self, subject: Game, batch: Batch) -> Tensor:
        """The value of the game at each row and a sample next to it ``(n,)``, in nats."""
        return self.value(*subject.scores(batch))

    def learner(self, subject: Any, job: Any) -> AdversarialLearner:
        """The two players, for a family or for a program and its guide."""
        own = subject.family.divergence if isinstance(subject.family, HasDivergence) else None
        chosen = replace(self, f=self.f or own or "jensen_shannon")
        return AdversarialLearner(chosen, Game.of(subject, self.critic), job)

    def value(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic maximises, from its numbers for real and for sampled rows ``(n,)``."""
        return self._divergence.on_data(real) - self._divergence.on_samples(fake)

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """What the program minimises ``(n,)``; ``real`` matters only where a guide has a part in it."""
        reward, cost = self._divergence.on_data, self._divergence.on_samples
        if self.saturating:
            return -cost(fake) if real is None else reward(real) - cost(fake)
        # The roles are swapped: samples are to be taken for real rows, and real ones for samples.
        return -reward(fake) if real is None else cost(real) - reward(fake)

    def critic_loss(
        self, score: Score, real: Sequence[Tensor], fake: Sequence[Tensor], value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the critic minimises ``(n,)``, and its estimate of the divergence."""
        cost = self.penalty * r1_penalty(score, real) if self.penalty else 0.0
        return cost - value, value.mean()

    @property
    def _divergence(self) -> Divergence:
        return DIVERGENCES[self.f or "jensen_shannon"]
