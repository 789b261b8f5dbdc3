"""Where Pyro programs are run: in double precision, with a state of their own, ready to be recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pyro
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from ppgen.program.explain import explained

__all__ = ["SelectByTensor", "own_state", "unvalidated"]


@contextmanager
def own_state() -> Iterator[None]:
    """Run programs in double precision, with a random state and parameters that are thrown away."""
    default = torch.get_default_dtype()
    with (
        explained("a Pyro program that runs on the given data", "program(**data)"),
        torch.random.fork_rng(devices=[]),
        pyro.get_param_store().scope(),
        _DoublePrecision(),
    ):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


@contextmanager
def unvalidated() -> Iterator[None]:
    """Checks of values are control flow, and would end a recording; the first run has made them.

    Distributions that were built outside of the program carry a switch of their own.
    """
    unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample", return_value=None)
    with pyro.validation_enabled(False), unchecked:
        yield


class _DoublePrecision(TorchFunctionMode):
    """Lets single-precision tensors of the user, such as a trained network's, meet double-precision ones."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        dtypes = {leaf.dtype for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        if {torch.float32, torch.float64} <= dtypes and not _writes_in_place(func):
            args, kwargs = pytree.tree_map_only(torch.Tensor, _to_double, (args, kwargs))
        return func(*args, **kwargs)


def _to_double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.dtype == torch.float32 else tensor


def _writes_in_place(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name.startswith(("__i", "__set")) or (name.endswith("_") and not name.endswith("__"))


class SelectByTensor(TorchFunctionMode):
    """Lets a tensor without dimensions select along one, as a Python number does, without becoming one.

    Torch itself asks such a tensor for its number, and a program with discrete latents cannot be recorded.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            args = _selected(*args)
        return func(*args, **(kwargs or {}))


def _selected(tensor: torch.Tensor, index: Any) -> tuple[torch.Tensor, Any]:
    """The same part of a tensor by an index in which no tensor without dimensions is left."""
    entries = list(index) if isinstance(index, tuple) else [index]
    consuming = [0 if entry is None or entry is Ellipsis else _dimensions(entry) for entry in entries]
    if not any(_is_number(entry) for entry in entries):
        return tensor, index
    before = 0
    for i, entry in enumerate(entries):
        if _is_number(entry):
            after_ellipsis = any(other is Ellipsis for other in entries[:i])
            dim = tensor.ndim - sum(consuming[i:]) if after_ellipsis else before
            number = torch.where(entry < 0, entry + tensor.shape[dim], entry).long()
            tensor, entries[i] = tensor.index_select(dim, number.reshape(1)), 0
        before += consuming[i]
    return tensor, tuple(entries)


def _is_number(entry: Any) -> bool:
    whole = isinstance(entry, torch.Tensor) and entry.ndim == 0
    return whole and not entry.is_floating_point() and entry.dtype != torch.bool


def _dimensions(entry: Any) -> int:
    """How many dimensions of a tensor an entry of an index takes up."""
    return entry.ndim if isinstance(entry, torch.Tensor) and entry.dtype == torch.bool else 1
