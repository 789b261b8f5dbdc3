"""The latent-variable families: what is not seen explains what is, and a guide learns to infer it."""

from ppgen.models.vae.hierarchical import HierarchicalVAE
from ppgen.models.vae.semi_supervised import SemiSupervisedVAE
from ppgen.models.vae.vae import VAE
from ppgen.models.vae.vector_quantised import VQVAE

__all__ = ["VAE", "VQVAE", "HierarchicalVAE", "SemiSupervisedVAE"]
