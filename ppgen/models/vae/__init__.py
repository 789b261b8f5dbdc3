"""The latent-variable families: latent variables explain the data, and a guide learns to infer them."""
