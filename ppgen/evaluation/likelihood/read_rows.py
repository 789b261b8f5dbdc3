"""Read the latent rows of a subject, whichever language it is in."""

from __future__ import annotations

import numpy as np

from ppgen.evaluation.likelihood.latent_rows import LatentRows, Subject

__all__ = ["read_rows"]


def read_rows(subject: Subject, example: np.ndarray, label: int | None) -> LatentRows:
    """The rows of a class, read off the program at one row ``(*shape)``.

    Raises:
        ProgramError: if a site's log density is not one number a row, or nothing is latent.
        UnsupportedProgram: for latent sites without a density to follow, and programs that cannot be
            replayed in JAX.
    """
    # Neither engine is imported for a program of the other.
    if subject.engine == "pyro":
        from ppgen.evaluation.likelihood.pyro_rows import read_pyro_rows

        return read_pyro_rows(subject, example, label)
    from ppgen.evaluation.likelihood.numpyro_rows import read_numpyro_rows

    return read_numpyro_rows(subject, example, label)
