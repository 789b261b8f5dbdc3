"""Save and load a family: its name, its settings and its tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ppgen import storage
from ppgen.errors import InvalidArgument, PpgenError, StorageError
from ppgen.models.catalog import FAMILIES, family_class
from ppgen.program.family import TrainingFacts

__all__ = ["load", "save"]


def save(family: Any, path: str | os.PathLike[str]) -> Path:
    """Save a family to a ``.ppgen`` file: safetensors and JSON, no pickle.

    What :func:`load` gives back samples the same rows and computes the same log densities, bit for bit.

    Args:
        family: one of ``ppgen.models``.
        path: where to; an existing file is replaced only once the new one is complete.

    Returns:
        The path.

    Raises:
        InvalidArgument: if it is no family of ppgen.models.
        StorageError: if the path cannot be written.

    Example:
        >>> import tempfile
        >>> from ppgen.models import VAE
        >>> vae = VAE((2, 2), levels=3, latent_dim=2, hidden=(8,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     copy = load(save(vae, f"{folder}/vae.ppgen"))
        >>> bool((copy.sample(3, seed=0) == vae.sample(3, seed=0)).all())
        True
    """
    name = _name(family)
    document = {
        "family": name,
        "shape": family.shape,
        "config": family.config,
        "trained": None if family.trained is None else asdict(family.trained),
    }
    return storage.write(path, storage.Stored(dict(family.tensors()), document))


def load(path: str | os.PathLike[str]) -> Any:
    """Load the family that :func:`save` wrote.

    Raises:
        StorageError: if the file is missing, truncated, of another format, or of a newer ppgen.
    """
    stored = storage.read(path)
    try:
        family = _build(stored.document)
        family.load_tensors(stored.tensors)
    except (KeyError, TypeError, RuntimeError, ValueError, PpgenError) as error:
        raise StorageError(
            "path",
            got=f"{path}, whose parts do not make a model ({error})",
            expected=f"a family that this ppgen knows: {', '.join(FAMILIES)}",
            fix="Save it again with this version of ppgen.",
        ) from error
    return family


def _build(document: Mapping[str, Any]) -> Any:
    # JSON has lists where the constructor has tuples.
    config = {key: tuple(v) if isinstance(v, list) else v for key, v in document["config"].items()}
    family = family_class(document["family"])(tuple(document["shape"]), **config)
    family.trained = None if document["trained"] is None else TrainingFacts(**document["trained"])
    return family


def _name(family: Any) -> str:
    for name in FAMILIES:
        if type(family) is family_class(name):
            return name
    raise InvalidArgument(
        "family",
        got=f"an object of type {type(family).__name__}",
        expected=f"one of ppgen.models: {', '.join(FAMILIES)}",
        fix="For your own program, save run.params with np.savez(path, **run.params).",
    )
