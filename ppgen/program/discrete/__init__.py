"""Finite discrete latents: tabulated, summed out, drawn."""
