"""Adversarial training: a critic estimates a divergence between data and samples, the sampler lowers it."""

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
        on_data: :math:`g(v)`, which maps any number into the domain of :math:`f^*`.
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
    r"""Minimise a critic's estimate of an f-divergence between data and a program's samples.

    .. math:: \min_\theta \max_T \; \mathbb{E}_{p_{\text{data}}}[T(x)] - \mathbb{E}_{p_\theta}[f^*(T(x))]
        \;\le\; D_f(p_{\text{data}} \Vert p_\theta)

    The program samples as many examples as it is given, and returns them; its density is never evaluated.
    With a guide the critic judges pairs of examples and latent values, :math:`T(x, z)`: those that the guide
    infers from real examples, and those that the program generated its samples from. A program without
    parameters does not change: then only the critic learns, and the history's ``divergence`` estimates how
    far it is from the data.

    ``measures`` in the history are ``divergence``, a lower bound apart from noise and overfitting of the
    critic, and the losses ``critic`` and ``generator``; ``train`` is the divergence. Adversarial losses do
    not measure sample quality, since each depends on the opponent. ``valid`` is therefore the energy distance
    between held-out examples and samples, which needs no critic, and rewards covering the modes more than
    sharp samples; or, if the program has no parameters, the critic's own loss.

    Attributes:
        f: ``"jensen_shannon"``, ``"kl"``, ``"reverse_kl"``, ``"pearson"`` or ``"squared_hellinger"``; by
            default the family's own, else the first.
        critic: a torch module that gives a number for each example, ``critic(x) -> (n,)``, with a guide
            ``critic(x, z)``, with classes ``critic(x, label=label)``; families have their own.
        critic_steps: how many minibatches train the critic for each that trains the program.
        penalty: weight of the squared slope of the critic at real examples (R1); 0 for none.
        saturating: let the program follow the gradient of the bound itself. It vanishes while the critic is
            certain; by default the program instead maximises the critic's score of samples as real.
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
        """The critic's objective at each example and a paired sample ``(n,)``, in nats."""
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
        """The program's loss ``(n,)``; ``real`` matters only with a guide."""
        reward, cost = self._divergence.on_data, self._divergence.on_samples
        if self.saturating:
            return -cost(fake) if real is None else reward(real) - cost(fake)
        # The roles are swapped: samples should pass as real, and real examples as samples.
        return -reward(fake) if real is None else cost(real) - reward(fake)

    def critic_loss(
        self, score: Score, real: Sequence[Tensor], fake: Sequence[Tensor], value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The critic's loss ``(n,)``, and its estimate of the divergence."""
        cost = self.penalty * r1_penalty(score, real) if self.penalty else 0.0
        return cost - value, value.mean()

    @property
    def _divergence(self) -> Divergence:
        return DIVERGENCES[self.f or "jensen_shannon"]
