"""ATen operations, each with the JAX function of the same meaning.

One table a category; an entry takes the arguments of its ATen schema, tensors as JAX arrays. What is
not here, torch writes in terms of what is. Keys are the operation's name, or ``name.overload`` where
overloads differ. An entry need not care about dtypes: its result is cast to the one that torch gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ppgen.program.lowering.aten import (
    elementwise,
    indexing,
    linear_algebra,
    networks,
    reductions,
    shapes,
    special,
)

__all__ = ["OPERATIONS", "find_operation", "key_in"]

OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    elementwise.TABLE
    | special.TABLE
    | reductions.TABLE
    | shapes.TABLE
    | indexing.TABLE
    | linear_algebra.TABLE
    | networks.TABLE
)


def find_operation(operation: Any) -> Callable[..., Any] | None:
    """The JAX function for a torch operator, or ``None`` where the table has none.

    Example:
        >>> import torch
        >>> print(find_operation(torch.ops.aten.add.Tensor)(1.0, 2.0, alpha=3))
        7.0
        >>> find_operation(torch.ops.aten.randn.default) is None
        True
    """
    return OPERATIONS.get(key_in(OPERATIONS, operation))


def key_in(table: Mapping[str, Any], operation: Any) -> str:
    """The key of an operator in a table, whether it is there or not: its name, or ``name.overload``."""
    namespace, _, name = operation._schema.name.partition("::")
    overload = f"{name}.{operation._overloadname}"
    return "" if namespace != "aten" else overload if overload in table else name
