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

__all__ = ["OPERATIONS", "find_operation"]

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
    namespace, _, name = operation._schema.name.partition("::")
    if namespace != "aten":
        return None
    return OPERATIONS.get(f"{name}.{operation._overloadname}", OPERATIONS.get(name))
