"""Features from large networks: where their weights are, and the error if they are missing."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ppgen.errors import StorageError
from ppgen.evaluation.features.rows import as_images
from ppgen.evaluation.features.spec import Features, FeatureSpec

__all__ = ["NetworkFeatures", "WeightsFile"]


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that ppgen does not ship.

    Attributes:
        name: the name of the network.
        file: the name of the file.
        sha256: the hash of the file.
        fetch: how to get it.
        package: a package that has it in its folder ``models``; empty if there is none.
    """

    name: str
    file: str
    sha256: str
    fetch: str
    package: str = ""

    @property
    def place(self) -> Path:
        """Where ppgen looks for it: the user's cache folder."""
        from platformdirs import user_cache_path

        return user_cache_path("ppgen") / "weights" / self.file

    @property
    def packaged(self) -> Path | None:
        """The file in its package; ``None`` if that is not installed."""
        package = importlib.util.find_spec(self.package) if self.package else None
        if package is None or package.origin is None:
            return None
        return Path(package.origin).parent / "models" / self.file

    def missing(self, path: Path | None = None, found: str = "") -> StorageError:
        """The error that says what to download, where to put it, and its hash."""
        got = f"{path or self.place}, {f'whose SHA-256 is {found}' if found else 'which is not a file'}"
        return StorageError(
            f"the weights of {self.name}",
            got=got,
            expected=f"{self.file} with SHA-256 {self.sha256}",
            fix=f"{self.fetch}, and put it at {self.place} or pass its path.",
        )


@dataclass(frozen=True, eq=False)
class NetworkFeatures(ABC):
    """Features of images from a torch network whose weights are in a file.

    Attributes:
        levels: how many values a pixel takes.
        path: the weights file; by default where ppgen looks for it.

    Raises:
        StorageError: if the weights are missing; the message says what to
            download, where to put it, and its hash.
    """

    weights: ClassVar[WeightsFile]
    batch: ClassVar[int]

    levels: int | None = 256
    path: str | os.PathLike[str] | None = None
    _network: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        network = self._build().eval().requires_grad_(False)
        _load_weights(self.weights, self.path, network)
        object.__setattr__(self, "_network", network)

    @abstractmethod
    def _build(self) -> Any:
        """The network, without its weights."""

    @abstractmethod
    def _of(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features ``(n, d)`` and probabilities ``(n, classes)`` of images ``(n, 3, h, w)`` in 0 … 255."""

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """How the features are made."""

    def __call__(self, rows: Any) -> Features:
        """The features of images ``(n, h, w)`` or ``(n, 3, h, w)``."""
        images = as_images(rows, self.levels)
        parts = [self._of(images[i : i + self.batch]) for i in range(0, len(images), self.batch)]
        values, probabilities = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Features(values, self.spec, probabilities)


def _load_weights(weights: WeightsFile, path: str | os.PathLike[str] | None, network: Any) -> None:
    """Load the weights into a torch module after checking their hash; nothing in the file is executed."""
    import torch

    file = weights.packaged or weights.place if path is None else Path(path)
    if not file.is_file():
        raise weights.missing(file)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != weights.sha256:
        raise weights.missing(file, found)
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
