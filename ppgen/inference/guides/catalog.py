"""Guides by their names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ppgen.errors import UnknownName
from ppgen.inference.guides.guide import Guide

__all__ = ["GUIDES", "make_guide"]

GUIDES = ("mean_field", "full_rank", "low_rank", "realnvp", "nsf", "iaf")


def make_guide(name: str, dim: int, options: Mapping[str, Any]) -> Guide:
    """A guide by its name.

    Args:
        name: one of ``mean_field``, ``full_rank``, ``low_rank``, ``realnvp``, ``nsf``, ``iaf``.
        dim: the length of the unconstrained vector.
        options: ``rank`` of ``low_rank`` (default: the root of ``dim``, rounded up); ``layers``, ``width``
            and ``knots`` of flows.

    Raises:
        UnknownName: if there is none of that name.

    Example:
        >>> make_guide("low_rank", 9, {})
        LowRank(dim=9, rank=3)
    """
    from ppgen.inference.guides.gaussian import FullRank, LowRank, MeanField

    if name not in GUIDES:
        raise UnknownName("guide", name, GUIDES)
    if name == "mean_field":
        return MeanField(dim)
    if name == "full_rank":
        return FullRank(dim)
    if name == "low_rank":
        return LowRank(dim, min(dim, options.get("rank") or math.ceil(math.sqrt(dim))))
    from ppgen.inference.guides.flows import Flow  # flowjax takes a second to import

    sizes = {size: value for size, value in options.items() if size in ("layers", "width", "knots") and value}
    return Flow(dim, name, **sizes)  # type: ignore[arg-type]
