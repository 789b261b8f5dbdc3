"""Guides of variational inference: families of distributions that are fitted to a posterior.

Those given by name are bijections of standard normal noise on unconstrained space: ``gaussian`` holds the
Gaussian ones, ``flows`` those over flowjax; ``named`` fits them, ``written`` those that a user writes.
``recipe`` holds the fitting procedure, ``objectives`` the bounds.
"""

from ppgen.inference.guides.catalog import GUIDES, make_guide
from ppgen.inference.guides.guide import Guide, Whitening

__all__ = ["GUIDES", "Guide", "Whitening", "make_guide"]
