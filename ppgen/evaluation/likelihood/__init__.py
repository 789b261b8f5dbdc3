"""How likely rows are under a model: long-run bounds from both sides, and paired comparison.

What anneals is loaded when it is first used: JAX takes seconds to import.
"""

import lazy_loader

# What there is stands in the stub, and is imported when it is first used: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
