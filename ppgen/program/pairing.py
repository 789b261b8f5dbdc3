"""Does a guide match its program: the same latent sites, with the same shapes?"""

from __future__ import annotations

from ppgen.errors import ProgramError
from ppgen.program.bounds import log_density, log_joints
from ppgen.program.family import Program
from ppgen.program.languages.rows import Batch, RowPrograms
from ppgen.program.mismatch import check_names, check_shape, listed, no_gradient

__all__ = ["check_exact", "check_pair"]


def check_pair(
    rows: RowPrograms, model: Program, guide: Program, batch: Batch, *, reparameterised: bool = True
) -> None:
    """Refuse a program and a guide that the ELBO cannot be written for.

    Both are run once, and leave nothing behind.

    Args:
        rows: how their language runs programs on rows.
        model, guide: programs whose first argument is the minibatch.
        batch: a few rows ``(n, *shape)``.
        reparameterised: whether each site of the guide must have a gradient through its draws.

    Raises:
        ProgramError: if a latent site is in one of the two and not in the other, if its shapes differ,
            or if a site's log density is not one number a row.
        UnsupportedProgram: if the guide draws a site without a gradient, as discrete ones are.

    Example:
        >>> import torch, pyro, pyro.distributions as dist
        >>> from ppgen.program.languages.language import find_language
        >>> def model(x):
        ...     with pyro.plate("rows", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> check_pair(find_language("pyro").rows, model, lambda x: None, Batch(torch.zeros(3)))
        Traceback (most recent call last):
        ...
        ppgen.errors.ProgramError: guide: got no site 'z', expected ... in the guide.
    """
    with rows.trial():
        wanted, given = rows.run(model, batch).latent, rows.run(guide, batch).latent
        check_names(wanted.keys(), given.keys(), sample=rows.sample)
        for name, site in given.items():
            check_shape(name, wanted[name].value.shape, site.value.shape)
            if reparameterised and not rows.is_reparameterised(site.distribution):
                raise no_gradient(name, rows.kind(site.distribution))
        log_joints(rows, model, guide, batch)


def check_exact(rows: RowPrograms, model: Program, batch: Batch) -> None:
    """Refuse a program whose rows have no log density of their own.

    Raises:
        ProgramError: if it has latent sites, or if a site's log density is not one number a row.
    """
    with rows.trial():
        latent = rows.run(model, batch).latent
        if latent:
            raise ProgramError(
                "guide",
                got=f"none, and a program with the latent sites {listed(latent)}",
                expected="a guide that samples them, given the minibatch",
                fix="Write guide=..., or ppgen.infer(program, data) for a posterior.",
            )
        log_density(rows, model, batch)
