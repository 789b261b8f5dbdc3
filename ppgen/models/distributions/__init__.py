"""The distributions that the families' programs are written with, as Pyro distributions."""

from typing import Any

__all__ = ["PyroDistribution"]

PyroDistribution = Any
"""A Pyro distribution. Pyro's own class derives from ``typing.Callable``, which runtime checks refuse."""
