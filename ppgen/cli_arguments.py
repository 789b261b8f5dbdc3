"""What is typed on the command line: options that several commands share, and what becomes of their text."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ppgen.errors import InvalidArgument, StorageError

if TYPE_CHECKING:
    from ppgen.data import Dataset

__all__ = [
    "Data",
    "Grey",
    "Lazy",
    "Levels",
    "Seed",
    "Settings",
    "Size",
    "named_again",
    "read_dataset",
    "read_json_object",
    "read_key_values",
    "read_program",
    "read_values",
]

Data = Annotated[
    str,
    typer.Option(
        "--data", help="A dataset's name (`ppgen datasets`), a .npy, .npz or .csv file, a folder of images."
    ),
]
Levels = Annotated[int | None, typer.Option(help="For your own integers: how many values an entry can take.")]
Size = Annotated[
    str | None, typer.Option(metavar="HxW", help="For images: scale and crop to a size, such as 32x32.")
]
Grey = Annotated[
    bool | None, typer.Option("--grey/--colour", help="For images; by default colour if any has colour.")
]
Lazy = Annotated[
    bool | None,
    typer.Option("--lazy/--eager", help="Read a .npy file or images as needed; by default if large."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same numbers.", min=0)]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the family or method; may be repeated."),
]


def read_dataset(
    source: str, levels: int | None, size: str | None, grey: bool | None, lazy: bool | None
) -> Dataset:
    """The rows that ``--data`` names, read as the other options say."""
    from ppgen.data import Dataset, load

    found = load(source, levels=levels, size=_height_and_width(size), grey=grey, lazy=lazy)
    if not isinstance(found, Dataset):
        raise InvalidArgument(
            "--data",
            got=f"{source!r}, the data of one Bayesian program",
            expected="rows to model, such as digits or two_moons",
            fix="Use `ppgen infer` for programs, or choose another of `ppgen datasets`.",
        )
    return found


def named_again(*, grey: bool | None, lazy: bool | None, **options: object) -> str:
    """How the data were named on the command line."""
    words = [f"--{name} {value}" for name, value in options.items() if value is not None]
    switches = {("--grey", "--colour"): grey, ("--lazy", "--eager"): lazy}
    words += [yes if value else no for (yes, no), value in switches.items() if value is not None]
    return " ".join(words)


def _height_and_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, _, width = size.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise InvalidArgument("--size", got=repr(size), expected="HEIGHTxWIDTH", fix="Write --size 32x32.")
    return int(height), int(width)


def read_key_values(settings: list[str] | None) -> dict[str, str]:
    """The texts of ``--set KEY=VALUE``, by key."""
    pairs = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InvalidArgument(
                "--set", got=repr(setting), expected="KEY=VALUE", fix="Write --set latent_dim=16."
            )
        pairs[key.strip()] = value.strip()
    return pairs


def read_values(settings: list[str] | None) -> dict[str, Any]:
    """Options whose types nothing declares: numbers, names, none."""
    from ppgen.models.settings import from_text

    return {name: from_text(text) for name, text in read_key_values(settings).items()}


def read_program(target: str) -> Any:
    """The function named by ``FILE.py:function``."""
    file, _, name = target.rpartition(":")
    if not file.endswith(".py") or not name:
        raise InvalidArgument(
            "program", got=repr(target), expected="FILE.py:function", fix="Write schools.py:model."
        )
    if not Path(file).is_file():
        raise StorageError(
            "program", got=f"{file}, which does not exist", expected="a Python file", fix="Check the path."
        )
    module = _imported(file)
    found = getattr(module, name, None)
    if not callable(found):
        functions = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise InvalidArgument(
            "program",
            got=f"{name!r}, which {file} does not define",
            expected="the name of one of its functions",
            fix=f"It has: {', '.join(functions) or 'none'}.",
        )
    return found


def _imported(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None  # a .py file always has one
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(file).resolve().parent))  # as Python does for a script
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvalidArgument(
            "program",
            got=f"{file}, which fails with {type(error).__name__}: {error}",
            expected="a Python file that can be imported",
            fix=f"Run `python {file}` to see where.",
        ) from error
    return module


def read_json_object(path: Path | None) -> dict[str, Any]:
    """The arguments of a program from a file."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StorageError(
            "--data",
            got=f"{path}, which cannot be read as JSON ({error})",
            expected="a JSON object of arrays and numbers",
            fix='Write a file such as {"sigma": [15, 10], "y": [28, 8]}.',
        ) from error
    if not isinstance(content, dict):
        raise InvalidArgument(
            "--data",
            got=f"a JSON {type(content).__name__}",
            expected="an object with the program's arguments by name",
            fix='Write a file such as {"sigma": [15, 10], "y": [28, 8]}.',
        )
    return content
