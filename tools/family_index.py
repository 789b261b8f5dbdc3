"""Write ppgen/models/index.py, the families by name: `make index`, after a family has come or gone.

Listing the families imports none of them; a test compares the index with the classes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import textwrap
from pathlib import Path
from typing import Any

import ppgen.models
from ppgen.models.family import Family

PATH = Path(__file__).parents[1] / "ppgen" / "models" / "index.py"

HEADER = '''"""The families by name, for listing and for lazy imports; `make index` writes this file."""

# fmt: off
# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
{imports}

__all__ = [
{names}
]


class Entry(NamedTuple):
    """Where a family is defined, and its one-line summary."""

    module: str
    class_name: str
    summary: str


FAMILIES: Mapping[str, Entry] = {{
{entries}
}}
'''


def families() -> list[Any]:
    """Every class of a family in ppgen.models that has no abstract method, in the order of their names."""
    found = {}
    for module in pkgutil.walk_packages(ppgen.models.__path__, "ppgen.models."):
        for each in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(each) and each.__module__ == module.name and issubclass(each, Family)
            if own and each.summary and not inspect.isabstract(each):
                found[each.name] = each
    return [found[name] for name in sorted(found)]


def text(found: list[Any]) -> str:
    """The index as Python."""
    modules = sorted((each.__module__, each.__name__) for each in found)
    names = ["FAMILIES", *(each.__name__ for each in found)]
    names.sort(key=lambda name: (not name.isupper(), name))  # as ruff sorts them: constants, then classes
    entry = '    "{0.name}": Entry("{0.__module__}", "{0.__name__}", "{0.summary}"),'
    return HEADER.format(
        imports="\n".join(f"    from {module} import {name}" for module, name in modules),
        names=textwrap.indent(textwrap.fill(", ".join(f'"{name}"' for name in names) + ",", 100), "    "),
        entries="\n".join(entry.format(each) for each in found),
    )


if __name__ == "__main__":
    PATH.write_text(text(families()))
