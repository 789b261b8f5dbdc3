"""What a program is: its language, its sites, its density, and the bounds that a guide gives."""

import lazy_loader

# The stub lists the names, which are imported on first use: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
