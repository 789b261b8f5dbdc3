"""A folder of images as discrete data, with its subfolders as classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ppgen.data.dataset import Dataset, Labels, as_dataset
from ppgen.data.lazy import LIMIT, LazyRows, RowArray, select
from ppgen.errors import DataError, InvalidArgument, StorageError

__all__ = ["LEVELS", "SUFFIXES", "ImageFiles", "read_folder"]

LEVELS = 256
SUFFIXES = (".jpeg", ".jpg", ".png")

_TURNED = (5, 6, 7, 8)  # values of the EXIF tag "orientation" that swap width and height
_ORIENTATION = 0x0112
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")  # all of 8 bits per channel


def read_folder(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
    lazy: bool | None = None,
    splits: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Dataset:
    """Read the PNG and JPEG files of a folder, sorted by name, then shuffled with ``seed`` and split.

    Subfolders are classes, numbered in order of name, as in torchvision's ``ImageFolder``. Folders
    that are all named ``train``, ``valid`` (or ``val``) and ``test`` are splits.

    Args:
        folder: where the images are.
        size: the height and width to scale them to, cropped to the centre where their proportions
            differ. By default all must have one size.
        grey: whether to convert them to greyscale; by default, if no image has colour.
        lazy: whether to read them when they are needed; by default, if they would take more than
            256 MB in memory as 64-bit integers. Otherwise all are read now.
        splits: the fractions of train, valid and test.
        seed: the seed of the shuffle.

    Returns:
        Examples ``(height, width)`` if greyscale, else ``(3, height, width)``, with 256 levels.

    Raises:
        DataError: if there are no images, or their sizes differ and ``size`` is not given.
        InvalidArgument: if the size is not two positive integers.
        StorageError: if a file cannot be read; the message names it.
    """
    size = _check_size(size)
    parts = _split_folders(folder)
    if parts is not None:
        return _from_split_folders(folder, parts, size, grey, lazy)
    found = _find(folder)
    rows = _lazy_or_not(ImageFiles.of(found.paths, size, grey), lazy)
    data = as_dataset(
        rows, levels=LEVELS, labels=found.labels, splits=splits, seed=seed, name=folder.resolve().name
    )
    labels = None if data.labels is None else replace(data.labels, names=found.classes)
    return replace(data, source=str(folder), labels=labels)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that are read when they are indexed: a source of lazy rows.

    Attributes:
        paths: the files, one per row.
        size: height and width of a row.
        grey: whether a row is ``(height, width)`` or ``(3, height, width)``.
    """

    paths: Sequence[Path]
    size: tuple[int, int]
    grey: bool

    @classmethod
    def of(cls, paths: Sequence[Path], size: tuple[int, int] | None, grey: bool | None) -> ImageFiles:
        """Read the header of each file, which says its size and whether it has colour.

        Raises:
            DataError: if the sizes differ and none is given.
            StorageError: if a file is not an image.
        """
        # Even when size and grey are given, the headers are read, to reject files that are not images.
        heads = [_head(path) for path in paths]
        size = size or _common_size(paths, [head for head, _ in heads])
        return cls(paths, size, all(is_grey for _, is_grey in heads) if grey is None else grey)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, height, width)``, or ``(n, 3, height, width)``."""
        return len(self.paths), *(() if self.grey else (3,)), *self.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Eight bits per number."""
        return np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The images at a slice, a mask or an integer array, ``(k, *shape)``."""
        chosen = np.arange(len(self.paths))[key]
        rows = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for row, i in zip(rows, chosen, strict=True):
            row[...] = self._pixels(self.paths[i])
        return rows

    def _pixels(self, path: Path) -> np.ndarray:
        from PIL import Image, ImageOps

        height, width = self.size
        try:
            with Image.open(path) as image:
                # Consistent with _head: in a PNG Pillow finds the orientation only after all of its pixels.
                upright = image if image.format == "PNG" else ImageOps.exif_transpose(image)
                upright = upright.convert("L" if self.grey else "RGB")
                if upright.size != (width, height):
                    upright = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
                pixels = np.asarray(upright)  # (height, width), or (height, width, 3)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise _unreadable(path, error) from error
        return pixels if self.grey else np.moveaxis(pixels, -1, 0)


@dataclass(frozen=True, eq=False)
class _Found:
    """The images of a folder in order, and the class of each where there are subfolders."""

    paths: list[Path]
    labels: np.ndarray | None
    classes: tuple[str, ...]


def _find(folder: Path) -> _Found:
    own = _pictures(folder, deep=False)
    folders = [path for path in _visible(folder) if path.is_dir()]
    inside = [_pictures(path, deep=True) for path in folders]
    if own and any(inside):
        raise DataError(
            "data",
            got=f"{folder}, with {len(own)} images next to folders of images",
            expected="only images, or a folder for each class",
            fix="Move the images into the folders of their classes.",
        )
    if own:
        return _Found(own, None, ())
    if not any(inside):
        others = sorted({path.suffix for path in folder.rglob("*") if path.is_file()})
        raise DataError(
            "data",
            got=f"{folder} without images" + (f", with files {', '.join(others[:5])}" if others else ""),
            expected=f"files {', '.join(SUFFIXES)}, or folders of them",
            fix="Check the path, or convert the files.",
        )
    for path, pictures in zip(folders, inside, strict=True):
        if not pictures:
            raise DataError(
                "data",
                got=f"{path} without images",
                expected="images in each folder, since a folder is a class",
                fix="Remove the folder, or put its images there.",
            )
    labels = np.repeat(np.arange(len(folders)), [len(pictures) for pictures in inside])
    return _Found([p for pictures in inside for p in pictures], labels, tuple(p.name for p in folders))


def _pictures(folder: Path, *, deep: bool) -> list[Path]:
    found = []
    for path in _visible(folder):
        if path.is_dir() and deep:
            found += _pictures(path, deep=True)
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            found.append(path)
    return found


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


# -- folders that are splits -----------------------------------------------------------------------------


def _split_folders(folder: Path) -> list[Path | None] | None:
    """The folders of train, valid and test; ``None`` if the folders are not named as splits."""
    folders = {path.name: path for path in _visible(folder) if path.is_dir()}
    if not {"train"} <= folders.keys() <= {"train", "valid", "val", "test"}:
        return None
    if {"valid", "val"} <= folders.keys():
        raise DataError(
            "data",
            got=f"{folder} with folders named valid and val",
            expected="one of them",
            fix="Rename one of the two, or move its images into the other.",
        )
    return [folders["train"], folders.get("valid", folders.get("val")), folders.get("test")]


def _from_split_folders(
    folder: Path,
    parts: list[Path | None],
    size: tuple[int, int] | None,
    grey: bool | None,
    lazy: bool | None,
) -> Dataset:
    found = [None if part is None else _find(part) for part in parts]
    own = found[0]
    assert own is not None  # _split_folders requires it
    for part in found[1:]:
        if part is not None and part.classes != own.classes:
            raise DataError(
                "data",
                got=f"{folder}, with classes {', '.join(part.classes) or '(none)'} in one split",
                expected=f"those of train in each: {', '.join(own.classes) or '(none)'}",
                fix="Give each split the same folders.",
            )
    counts = [0 if part is None else len(part.paths) for part in found]
    files = ImageFiles.of([path for part in found if part is not None for path in part.paths], size, grey)
    rows = _lazy_or_not(files, lazy).astype(np.int64)
    places = np.split(np.arange(len(rows)), np.cumsum(counts)[:-1])
    train, valid, test = (select(rows, place) for place in places)
    labels = None
    if own.labels is not None:
        none = np.empty(0, np.int64)
        classes = [none if part is None or part.labels is None else part.labels for part in found]
        labels = Labels(classes[0], classes[1], classes[2], len(own.classes), own.classes)
    return Dataset(folder.resolve().name, train, valid, test, "discrete", LEVELS, str(folder), labels)


# -- files -----------------------------------------------------------------------------------------------


def _lazy_or_not(files: ImageFiles, lazy: bool | None) -> RowArray:
    rows: Any = LazyRows(files)
    if lazy is None:
        lazy = 8 * rows.size > LIMIT
    return rows if lazy else np.asarray(rows)


def _head(path: Path) -> tuple[tuple[int, int], bool]:
    """Height and width of an image once upright, and whether it is greyscale."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.format != "PNG" and image.getexif().get(_ORIENTATION) in _TURNED
            mode = image.mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error
    if mode not in (*_GREY, *_COLOUR):
        raise DataError(
            "data",
            got=f"{path}, an image of mode {mode}",
            expected="8 bits per channel",
            fix="Convert it, or save such images as numbers in a .npy file.",
        )
    return (width, height) if turned else (height, width), mode in _GREY


def _common_size(paths: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise DataError(
                "data",
                got=f"{path} of size {size}, and {paths[0]} of {sizes[0]}",
                expected="images of one size",
                fix="Write size=(64, 64), for example, to scale and centre-crop them.",
            )
    return sizes[0]


def _check_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(pair) != 2 or not all(type(side) is int and side > 0 for side in pair):
        raise InvalidArgument(
            "size", got=repr(size), expected="height and width in pixels", fix="Write size=(28, 28)."
        )
    return pair


def _unreadable(path: Path, error: Exception) -> StorageError:
    return StorageError(
        "data",
        got=f"{path}, which cannot be read ({error})",
        expected="a complete PNG or JPEG file",
        fix="Remove it, or write it again.",
    )
