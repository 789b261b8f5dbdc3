"""Generative models as programs, over Pyro and NumPyro.

A model is a callable with ``sample`` statements; one inference layer fits it; one evaluation layer
says how good it is, and what kind of number that is.

>>> import ppgen
>>> digits = ppgen.data.load("digits")
>>> vae = ppgen.models.VAE(digits.shape, levels=digits.levels, latent_dim=16)

Importing ppgen imports neither torch nor JAX: each part is loaded when it is first used.
"""

import lazy_loader

# The stub lists the names, which are imported on first use: torch and JAX take seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
