"""What samples are measured on: feature vectors of rows, each with the spec of how they were made.

The networks that need torch, :class:`EfficientNetLite0` and :class:`InceptionV3`, are imported when they are
first asked for.
"""

import lazy_loader

# What there is stands in the stub, and is imported when it is first used: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
