"""Write what ppgen.models offers: `make index`, after a family has come or gone.

``index.py`` has the families by name with their summaries, ``__init__.pyi`` their classes; neither imports a
family. A test compares both with the classes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import ppgen.models
from ppgen.models.family import Family

FOLDER = Path(__file__).parents[1] / "ppgen" / "models"

INDEX = '''"""The families by name, for listing and for lazy imports; `make index` writes this file."""

# fmt: off
# ruff: noqa: E501
from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """Where a family is defined, and its one-line summary."""

    module: str
    class_name: str
    summary: str


FAMILIES: Mapping[str, Entry] = {{
{entries}
}}
'''
FUNCTIONS = {
    "FAMILIES": ".index",
    "describe": ".registry",
    "load": ".files",
    "make": ".registry",
    "save": ".files",
}


def families() -> list[Any]:
    """Every family in ppgen.models, by the summary that it has of its own; in the order of their names."""
    found = {}
    for module in pkgutil.walk_packages(ppgen.models.__path__, "ppgen.models."):
        for each in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(each) and each.__module__ == module.name
            if own and issubclass(each, Family) and vars(each).get("summary"):
                found[each.name] = each
    return [found[name] for name in sorted(found)]


def files(found: list[Any]) -> dict[Path, str]:
    """The text of each file."""
    entry = '    "{0.name}": Entry("{0.__module__}", "{0.__name__}", "{0.summary}"),'
    homes = {each.__name__: each.__module__.removeprefix("ppgen.models") for each in found} | FUNCTIONS
    names = sorted(homes, key=lambda name: (homes[name], name))
    stub = [f"from {homes[name]} import {name} as {name}\n" for name in names]
    return {
        FOLDER / "index.py": INDEX.format(entries="\n".join(map(entry.format, found))),
        FOLDER / "__init__.pyi": "".join(stub),
    }


if __name__ == "__main__":
    for path, text in files(families()).items():
        path.write_text(text)
