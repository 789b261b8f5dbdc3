"""The shared layer: posteriors of a program, and training of a neural program.

The entry points are ``ppgen.infer`` and ``ppgen.train``. Posterior methods import JAX and training imports
torch, so each is imported on first use.
"""

import lazy_loader

# The stub lists the names, which are imported on first use: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
