"""Where the weights of large networks lie, and the one message for when they do not."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppgen.errors import StorageError

__all__ = ["WeightsFile", "load_weights"]


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that ppgen does not ship.

    Attributes:
        name: of the network.
        file: the file's name.
        sha256: what the file must hold.
        fetch: how to get it.
    """

    name: str
    file: str
    sha256: str
    fetch: str

    @property
    def place(self) -> Path:
        """Where ppgen looks for it: the user's folder of caches."""
        from platformdirs import user_cache_path

        return user_cache_path("ppgen") / "weights" / self.file

    def missing(self, path: Path | None = None, found: str = "") -> StorageError:
        """The error that says what to fetch, where to put it, and its hash."""
        got = f"{path or self.place}, {f'whose SHA-256 is {found}' if found else 'which is no file'}"
        return StorageError(
            f"the weights of {self.name}",
            got=got,
            expected=f"{self.file} with SHA-256 {self.sha256}",
            fix=f"{self.fetch}, and put it at {self.place} or give its path.",
        )


def load_weights(weights: WeightsFile, path: str | os.PathLike[str] | None, network: Any) -> None:
    """Fill a torch module with the weights, once their hash is right; nothing in the file is executed.

    Raises:
        StorageError: if the file is missing or holds something else.
    """
    import torch

    file = weights.place if path is None else Path(path)
    if not file.is_file():
        raise weights.missing(file)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != weights.sha256:
        raise weights.missing(file, found)
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
