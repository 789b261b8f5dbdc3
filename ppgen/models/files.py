"""Save and load a family: its name, its settings and its tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ppgen import storage
from ppgen.errors import InvalidArgument, PpgenError, StorageError, UnknownName
from ppgen.models.family import Family
from ppgen.models.index import FAMILIES
from ppgen.models.registry import family_class
from ppgen.program.family import TrainingFacts

__all__ = ["load", "save"]


def save(family: Any, path: str | os.PathLike[str]) -> Path:
    """Save a family to a ``.ppgen`` file: safetensors and JSON, no pickle.

    The family that :func:`load` returns gives the same samples and log densities, bit for bit.

    Args:
        family: one of ``ppgen.models``, or your own.
        path: the file; an existing one is replaced only once the new one is complete.

    Returns:
        The path.

    Raises:
        InvalidArgument: if it is not a family, or your own family has a name that ``ppgen.models`` uses.
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
    _check_family(family)
    document = {
        "family": family.name,
        "shape": family.shape,
        "config": family.config,
        "trained": None if family.trained is None else asdict(family.trained),
    }
    return storage.write(path, storage.Stored(dict(family.tensors()), document))


def load(
    path: str | os.PathLike[str],
    *,
    family: type[Family] | None = None,
    program: Any = None,
    modules: Any = None,
) -> Any:
    """Load the family that :func:`save` wrote.

    A file never names code to import; pass the class of your own family here.

    Args:
        path: the file.
        family: the class of your own family; not needed once it is defined or imported.
        program, modules: reserved for files that hold more than families; none do yet.

    Raises:
        StorageError: if the file is missing, truncated, of another format or of a newer ppgen, or if it holds
            a family whose class is neither known nor given.
        InvalidArgument: if an argument does not apply to the file.
    """
    for name, value in (("program", program), ("modules", modules)):
        if value is not None:
            raise InvalidArgument(
                name,
                got=type(value).__name__,
                expected="nothing: the file holds a family",
                fix="Leave it out.",
            )
    stored = storage.read(path)
    try:
        kind = _class_of(stored.document["family"], family)
        loaded = _build(kind, stored.document)
        loaded.load_tensors(_renamed(stored.tensors, kind.renamed))
    except (KeyError, TypeError, RuntimeError, ValueError, PpgenError) as error:
        raise StorageError(
            "path",
            got=f"{path}, written by ppgen {stored.version}, whose parts do not make a model ({error})",
            expected="a family that this ppgen knows, with the settings and tensors that it has",
            fix=_fix(error, stored.version),
        ) from error
    return loaded


def _class_of(name: str, given: Any) -> Any:
    if given is None:
        return family_class(name)
    if given.name != name:
        raise InvalidArgument(
            "family", got=f"{given.name!r}", expected=f"the class of {name!r}", fix="Give that class."
        )
    return given


def _build(kind: Any, document: Mapping[str, Any]) -> Any:
    # JSON has lists where the constructor has tuples.
    config = {key: tuple(v) if isinstance(v, list) else v for key, v in document["config"].items()}
    family = kind(tuple(document["shape"]), **_renamed(config, kind.renamed))
    family.trained = None if document["trained"] is None else TrainingFacts(**document["trained"])
    return family


def _renamed(parts: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Rename settings or tensors of an older file to their current names."""
    return {_new_name(name, renamed): part for name, part in parts.items()}


def _new_name(name: str, renamed: Mapping[str, str]) -> str:
    for old, new in renamed.items():
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name[len(old) :]
    return name


def _fix(error: Exception, version: str) -> str:
    if isinstance(error, UnknownName) and error.argument == "family":
        return "For your own family, import its class first, or write load(path, family=TheClass)."
    return f"Load it with ppgen {version}, or train the model again and save it."


def _check_family(family: Any) -> None:
    if not isinstance(family, Family):
        raise InvalidArgument(
            "family",
            got=f"an object of type {type(family).__name__}",
            expected="one of ppgen.models, or a class of your own that derives from their bases",
            fix="For your own program, save run.params with np.savez(path, **run.params).",
        )
    if family.name in FAMILIES and family_class(family.name) is not type(family):
        raise InvalidArgument(
            "family",
            got=f"{type(family).__name__} of the name {family.name!r}, which ppgen.models has",
            expected="a name of its own, by which it is found again",
            fix='Write name = "..." in its class.',
        )
