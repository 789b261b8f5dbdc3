"""The two players of adversarial training: a program that samples, and a critic that judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppgen.errors import InvalidArgument, ProgramError
from ppgen.inference.training.subject import Subject
from ppgen.program.capabilities import HasCritic, HasGuide
from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, RowPrograms, RowTrace
from ppgen.program.languages.rows.pyro import modules_of

__all__ = ["Game"]

SAMPLES = 512  # compared with held-out examples


class Game:
    """The interface that adversarial objectives use for a program and a critic.

    Args:
        rows: how their language runs programs on rows.
        model: a program that returns as many examples as there are in its first argument, whatever they hold.
        guide: of the same arguments, with a site for each latent site that the critic reads; ``None`` for
            none.
        critic: gives a number for each example, together with its latent values if there is a guide.
        as_input: rows as the critic reads them; by default as they are.

    Raises:
        InvalidArgument: if the critic is not a module with parameters.
    """

    def __init__(
        self, rows: RowPrograms, model: Program, guide: Program | None, critic: Any, as_input: Any = None
    ) -> None:
        if not isinstance(critic, nn.Module) or not any(p.requires_grad for p in critic.parameters()):
            raise InvalidArgument(
                "critic",
                got="none" if critic is None else f"a {type(critic).__name__}, without parameters to train",
                expected="a torch module that gives a number for each row",
                fix="Write critic=nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 1)), for example.",
            )
        self.rows, self.model, self.guide, self.critic = rows, model, guide, critic
        self._as_input = as_input
        self._names: list[str] = []  # of the sites that the critic sees, in the guide's order

    @classmethod
    def of(cls, subject: Subject, critic: Any = None) -> Game:
        """The players for a family, or for a program with its guide; ``critic`` replaces the family's own."""
        rows, family = subject.language.rows, subject.family
        guide = subject.guide if isinstance(subject, HasGuide) else None
        if not isinstance(family, HasCritic):
            return cls(rows, subject.model, guide, critic)
        return cls(rows, subject.model, guide, family.critic if critic is None else critic, family.as_input)

    def real(self, batch: Batch) -> list[Tensor]:
        """What the critic reads of real examples: ``(n, *shape)``, and what the guide infers of them."""
        rows = [self._read(batch.x)]
        if self.guide is None:
            return rows
        return rows + [site.value for site in self.rows.run(self.guide, batch).latent.values()]

    def fake(self, batch: Batch) -> list[Tensor]:
        """What the critic reads of as many samples, and the latent values that they were made of."""
        if self.guide is None:
            return [self._read(self.model(batch.x, **batch.context))]
        run: RowTrace = self.rows.run(self.model, batch)
        return [self._read(run.returned), *(run.sites[name].value for name in self._names)]

    def score(self, rows: Sequence[Tensor], label: Tensor | None) -> Tensor:
        """The critic's number for each example ``(n,)``."""
        numbers = self.critic(*rows) if label is None else self.critic(*rows, label=label)
        return numbers.reshape(len(rows[0]))

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The critic's numbers for real examples and for as many samples, ``(n,)`` each."""
        return self.score(self.real(batch), batch.label), self.score(self.fake(batch), batch.label)

    def energy_distance(self, batch: Batch) -> Tensor:
        r"""How far samples are from real examples, without any critic: the part of each example ``(n,)``.

        .. math:: D = 2\, \mathbb{E}\lVert x - \tilde x \rVert - \mathbb{E}\lVert x - x' \rVert -
            \mathbb{E}\lVert \tilde x - \tilde x' \rVert

        It is 0 if the two distributions are equal, else positive. Latent values from a guide are appended to
        the examples, and so are classes, as vectors as long as the examples are spread.

        References:
            Székely and Rizzo, *Energy Statistics: A Class of Statistics Based on Distances*, 2013.
        """
        # Enough samples for a stable value, with the class frequencies of the data.
        several = torch.arange(max(SAMPLES, len(batch.x)), device=batch.x.device) % len(batch.x)
        copies = Batch(batch.x[several], None if batch.label is None else batch.label[several])
        real, fake = self.real(batch), self.fake(copies)
        if batch.label is not None:
            length = real[0].flatten(1).std(0, correction=0).norm()
            classes = int(batch.label.max()) + 1
            real.append(length * F.one_hot(batch.label, classes))
            fake.append(length * F.one_hot(copies.label, classes))
        between, of_real, of_fake = _distances(real, fake), _distances(real, real), _distances(fake, fake)
        # The mean is over pairs of different samples.
        return (
            2 * between.mean(1)
            - of_real.sum(1) / max(len(of_real) - 1, 1)
            - of_fake.sum() / (len(of_fake) * (len(of_fake) - 1))
        )

    def modules(self) -> tuple[nn.Module, ...]:
        """The modules behind the players, whose training mode is switched."""
        owners = modules_of(self.model, *([] if self.guide is None else [self.guide]))
        inside = {id(module) for owner in owners for module in owner.modules()}
        return owners if id(self.critic) in inside else (*owners, self.critic)

    def check(self, batch: Batch) -> None:
        """Reject a program or a critic that does not fit the data.

        Raises:
            ProgramError: if the program does not return rows of numbers, or not as many.
            InvalidArgument: if the critic does not give a number for each example.
        """
        self._find_names(batch)
        fake = self.fake(batch)
        if fake[0].shape != batch.x.shape:
            raise ProgramError(
                "program",
                got=f"samples of shape {tuple(fake[0].shape)} for rows of shape {tuple(batch.x.shape)}",
                expected="as many rows of the same shape",
                fix="End it with return pyro.deterministic('x', net(z)), with len(x) rows of z.",
            )
        numbers = self.critic(*fake) if batch.label is None else self.critic(*fake, label=batch.label)
        if numbers.shape not in ((len(batch.x),), (len(batch.x), 1)):
            raise InvalidArgument(
                "critic",
                got=f"an output of shape {tuple(numbers.shape)} for {len(batch.x)} rows",
                expected="one number per row",
                fix="End it with nn.Linear(width, 1).",
            )

    def _find_names(self, batch: Batch) -> None:
        if self.guide is None:
            return
        self._names = list(self.rows.run(self.guide, batch).latent)
        known = self.rows.run(self.model, batch).latent
        missing = [name for name in self._names if name not in known]
        if missing:
            raise ProgramError(
                "guide",
                got=f"a site {missing[0]!r} that the program lacks",
                expected=f"sites of the program: {', '.join(map(repr, known))}",
                fix="Use the program's site names in the guide.",
            )

    def _read(self, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            raise ProgramError(
                "program",
                got=f"a program that returns {type(x).__name__}",
                expected="the rows that it sampled, as a tensor (n, *shape)",
                fix="End it with return pyro.deterministic('x', net(z)).",
            )
        return (x if self._as_input is None else self._as_input(x)).to(torch.get_default_dtype())


def _distances(rows: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    first, second = (torch.cat([part.flatten(1) for part in parts], 1) for parts in (rows, others))
    # The faster formula by matrix products gives an example a nonzero distance from itself.
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
