"""The shared layer: posteriors of a program, and training of a neural program.

The front doors are ``ppgen.infer`` and ``ppgen.train``. Posterior methods import JAX and training
imports torch, so each is imported when it is first used.
"""

import lazy_loader

# What there is stands in the stub, and is imported when it is first used: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
