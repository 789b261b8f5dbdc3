"""Finite discrete latents: tabulated, marginalised, drawn."""
