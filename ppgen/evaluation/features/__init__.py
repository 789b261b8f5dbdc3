"""Features: the vectors that sample quality is measured on, with a spec of how they were made.

The networks that need torch, :class:`EfficientNetLite0` and :class:`InceptionV3`, are imported on first use.
"""

import lazy_loader

# The stub lists the names, which are imported on first use: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
