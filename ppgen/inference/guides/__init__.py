"""Guides of variational inference: families of distributions that are fitted to a posterior.

Those given by name are bijections of standard normal noise on unconstrained space: ``gaussian`` holds the
Gaussian ones, ``flows`` those over flowjax. Those that a user writes are read by ``numpyro_guide`` and
``pyro_guide``.
"""

from ppgen.inference.guides.guide import GUIDES, Guide, Whitening, make_guide

__all__ = ["GUIDES", "Guide", "Whitening", "make_guide"]
