"""How good a generative model is, and what kind of number says so."""

import lazy_loader

# What there is stands in the stub, and is imported when it is first used: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
