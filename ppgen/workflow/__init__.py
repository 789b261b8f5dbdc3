"""The Bayesian workflow: check a program before and after its data, compare, average, and say what is wrong.

>>> from ppgen import workflow
>>> workflow.compare.__name__
'compare'
"""

import lazy_loader

# The stub lists the names, which are imported on first use: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
