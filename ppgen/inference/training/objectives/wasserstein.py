"""Training by the Wasserstein distance, with a penalty on the critic's slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ppgen.checks import check_integer, check_number
from ppgen.inference.training.adversarial_learner import AdversarialLearner
from ppgen.inference.training.game import Game
from ppgen.inference.training.objectives.penalties import Score, slopes_between
from ppgen.program.languages.rows import Batch

__all__ = ["Wasserstein"]


@dataclass(frozen=True)
class Wasserstein:
    r"""Minimise a critic's estimate of the Wasserstein distance between data and a program's samples.

    .. math:: W(p_{\text{data}}, p_\theta) = \max_{\lVert \nabla T \rVert \le 1} \;
        \mathbb{E}_{p_{\text{data}}}[T(x)] - \mathbb{E}_{p_\theta}[T(x)]

    A penalty on the deviation of the slope from 1, between real examples and samples, enforces the bound. The
    estimate is in the units that the critic reads: the data's own for a program, those of ``as_input`` for a
    family. Programs, guides, the history and validation are as for :class:`Adversarial`.

    Attributes:
        critic: a torch module that gives a number for each example, ``critic(x) -> (n,)``, with a guide
            ``critic(x, z)``, with classes ``critic(x, label=label)``; families have their own.
        critic_steps: how many minibatches train the critic for each that trains the program.
        penalty: weight of the penalty on slopes other than 1.
        critic_rate: the critic's learning rate, in units of the program's.

    References:
        Arjovsky, Chintala and Bottou, *Wasserstein GAN*, 2017, arXiv:1701.07875; Gulrajani et al., *Improved
        Training of Wasserstein GANs*, 2017, arXiv:1704.00028.
    """

    name: ClassVar[str] = "wasserstein"
    arrays: ClassVar[str] = "torch"
    betas: ClassVar[tuple[float, float]] = (0.0, 0.9)  # as Gulrajani et al. train

    critic: Any = None
    critic_steps: int = 5
    penalty: float = 10.0
    critic_rate: float = 1.0

    def __post_init__(self) -> None:
        check_integer("critic_steps", self.critic_steps, example=5)
        check_number("penalty", self.penalty, above=0.0, example=10.0)
        check_number("critic_rate", self.critic_rate, above=0.0, example=1.0)

    def __call__(self, subject: Game, batch: Batch) -> Tensor:
        """The critic's objective at each example and a paired sample ``(n,)``."""
        return self.value(*subject.scores(batch))

    def learner(self, subject: Any, job: Any) -> AdversarialLearner:
        """The two players, for a family or for a program and its guide."""
        return AdversarialLearner(self, Game.of(subject, self.critic), job)

    def value(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic maximises, from its numbers for real and for sampled rows ``(n,)``."""
        return real - fake

    def generator_loss(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The program's loss ``(n,)``; ``real`` matters only with a guide."""
        return -fake if real is None else real - fake

    def critic_loss(
        self, score: Score, real: Sequence[Tensor], fake: Sequence[Tensor], value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The critic's loss ``(n,)``, and its estimate of the distance.

        Against a penalty of weight c the best critic of a distance W has the slope 1 + W / 2c, and a value
        larger by that factor: the estimate is the value over the mean slope, where that is above 1.
        """
        slope = slopes_between(score, real, fake)
        return self.penalty * (slope - 1) ** 2 - value, value.mean() / slope.mean().clamp(min=1.0)
