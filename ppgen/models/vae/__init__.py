"""The latent-variable families: what is not seen explains what is, and a guide learns to infer it."""
