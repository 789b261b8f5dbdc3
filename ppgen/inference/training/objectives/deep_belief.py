"""The two training stages of a deep belief network: greedy layers, then up-down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from ppgen.checks import check_integer
from ppgen.inference.training.objectives.contrastive import gibbs
from ppgen.inference.training.objectives.unnormalised import stop_gradient
from ppgen.program.capabilities import HasLayers
from ppgen.program.languages.rows import Batch

__all__ = ["Greedy", "UpDown"]


@dataclass(frozen=True)
class Greedy:
    r"""Train each pair of layers as an RBM, by CD-k, on the states that the layer below infers.

    All pairs learn at once unless one is named: higher ones track the lower ones, and no gradient passes
    between them. Naming one after the other, in separate training runs, is Hinton's original recipe.

    Attributes:
        steps: k, of the chains before each update.
        layer: the one that learns, 0 the lowest; all when not given. (Weight decay acts on all.)

    References:
        Hinton, Osindero and Teh, *A Fast Learning Algorithm for Deep Belief Nets*, Neural Computation 2006,
        doi:10.1162/neco.2006.18.7.1527.
    """

    name: ClassVar[str] = "greedy"
    requires: ClassVar[type] = HasLayers

    steps: int = 1
    layer: int | None = None

    def __post_init__(self) -> None:
        check_integer("steps", self.steps)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The sum of the layers' contrastive losses, of each example ``(n,)``."""
        machines, fixed = subject.family.machines(), stop_gradient(subject).family.machines()
        if self.layer is not None:
            check_integer("layer", self.layer, least=0, most=len(machines) - 1)
        states, losses = batch.x, 0.0
        for i, machine in enumerate(machines):
            infer, move = jax.random.split(jax.random.fold_in(batch.key, i))
            if self.layer in (None, i):
                chains = gibbs(fixed[i].transition, move, states, self.steps)
                losses += machine.energy(states) - machine.energy(chains)
            states = fixed[i].hidden_given(states).sample(infer)
        return losses

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """Minus the bound on the log density of each example ``(n,)``, its constant roughly estimated."""
        return -subject.family.rough_log_prob(batch.key, batch.x)


@dataclass(frozen=True)
class UpDown:
    r"""Contrastive wake-sleep: all layers learn together, upward and downward weights separately.

    In the wake phase, layers are inferred from the data, and the downward weights learn to generate each from
    the one above. The RBM on top runs for k steps from there, and learns from the difference. In the sleep
    phase its samples pass down through the layers, and the upward weights learn to infer them.

    Attributes:
        steps: k.

    References:
        Hinton, Osindero and Teh, *A Fast Learning Algorithm for Deep Belief Nets*, Neural Computation 2006,
        appendix B; Hinton, Dayan, Frey and Neal, *The wake-sleep algorithm for unsupervised neural
        networks*, Science 1995.
    """

    name: ClassVar[str] = "up_down"
    requires: ClassVar[type] = HasLayers

    steps: int = 5

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, example=5)

    def __call__(self, subject: Any, batch: Batch) -> Any:
        """The sum of the three losses, of each example ``(n,)``."""
        family, fixed = subject.family, stop_gradient(subject).family
        up, move, down = jax.random.split(batch.key, 3)
        awake = fixed.rise(up, batch.x)
        dreamt = gibbs(fixed.machines()[-1].transition, move, awake[-1], self.steps)
        dream = fixed.fall(down, dreamt)
        top = family.machines()[-1]
        losses = top.energy(awake[-1]) - top.energy(dreamt)
        for i in range(len(awake) - 1):
            losses -= family.below(i, awake[i + 1]).log_prob(awake[i])
            losses -= family.above(i, dream[i]).log_prob(dream[i + 1])
        return losses

    def monitor(self, subject: Any, batch: Batch) -> Any:
        """Minus the bound on the log density of each example ``(n,)``, its constant roughly estimated."""
        return -subject.family.rough_log_prob(batch.key, batch.x)
