"""The datasets by name, and the door through which a user's own files come in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ppgen.data.dataset import Dataset, Observations, as_dataset
from ppgen.data.files import read_dataset
from ppgen.errors import UnknownName

__all__ = ["describe", "load", "names"]


@overload
def load(source: Literal["eight_schools"]) -> Observations: ...
@overload
def load(
    source: Any,
    *,
    levels: int | None = None,
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Dataset: ...
def load(
    source: Any,
    *,
    levels: int | None = None,
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Dataset | Observations:
    """Load a dataset by name, or a user's own file or array.

    Args:
        source: one of :func:`names`; or the path of a ``.npy``, ``.npz`` or ``.csv`` file; or an array
            ``(n, *shape)``.
        levels: for the user's own integers, how many values an entry can take (default: largest + 1).
        splits: for the user's own rows, the fractions of train, valid and test.
        seed: for the user's own rows, the seed of the shuffle before the split. Named datasets have
            one fixed split each.

    Returns:
        A :class:`Dataset`; for ``"eight_schools"``, which is the data of one Bayesian program, an
        :class:`Observations` mapping.

    Raises:
        UnknownName: if the name is no dataset and no file.
        DataError: if the file or array holds no usable rows.

    Example:
        >>> load("digits")
        Dataset('digits', shape (8, 8), discrete, 17 levels, train/valid/test 1000/350/447)
        >>> load("eight_schools")["sigma"]
        array([15., 10., 16., 11.,  9., 11., 10., 18.])
    """
    if isinstance(source, str) and source in _CATALOG:
        return _CATALOG[source].make()
    if isinstance(source, (str, Path)):
        path = Path(source)
        if isinstance(source, str) and not path.suffix and not path.exists():
            raise UnknownName("data", source, [*names(), "a path ending in .npy, .npz or .csv"])
        return read_dataset(path, levels=levels, splits=splits, seed=seed)
    return as_dataset(source, levels=levels, splits=splits, seed=seed)


def names() -> list[str]:
    """The names that :func:`load` knows."""
    return list(_CATALOG)


def describe() -> dict[str, str]:
    """One line a dataset: what its rows are and where they come from."""
    return {name: entry.summary for name, entry in _CATALOG.items()}


def _digits() -> Dataset:
    train, valid, test = _digit_splits()
    return Dataset("digits", train, valid, test, "discrete", 17, _CATALOG["digits"].summary)


def _digits_binary() -> Dataset:
    train, valid, test = ((split >= 8).astype(np.int64) for split in _digit_splits())
    return Dataset("digits-binary", train, valid, test, "discrete", 2, _CATALOG["digits-binary"].summary)


def _digit_splits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    images = load_digits().images.astype(np.int64)  # (1797, 8, 8), values 0 … 16
    order = np.random.default_rng(0).permutation(len(images))
    train, valid, test = np.split(images[order], [1000, 1350])
    return train, valid, test


def _two_moons() -> Dataset:
    from sklearn.datasets import make_moons

    rows, _ = make_moons(n_samples=15_000, noise=0.1, random_state=0)  # already shuffled
    train, valid, test = np.split(rows, [8_000, 10_000])
    return Dataset("two_moons", train, valid, test, "continuous", None, _CATALOG["two_moons"].summary)


def _eight_schools() -> Observations:
    effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    standard_error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    return Observations(
        "eight_schools", {"sigma": standard_error, "y": effect}, _CATALOG["eight_schools"].summary
    )


@dataclass(frozen=True)
class _Entry:
    make: Callable[[], Dataset | Observations]
    summary: str


_CATALOG = {
    "digits": _Entry(
        _digits,
        "1797 handwritten digits, 8x8, 17 levels; scikit-learn's copy of the UCI test set "
        "(Alpaydin and Kaynak 1998); split 1000/350/447",
    ),
    "digits-binary": _Entry(_digits_binary, "the same digits with a pixel on where its level is at least 8"),
    "two_moons": _Entry(
        _two_moons,
        "two interleaved half circles in the plane with Gaussian noise 0.1 (scikit-learn's make_moons); "
        "true entropy 1.013 nats; split 8000/2000/5000",
    ),
    "eight_schools": _Entry(
        _eight_schools,
        "effects of coaching on test scores in eight schools, with their standard errors (Rubin 1981, "
        "'Estimation in parallel randomized experiments')",
    ),
}
