"""Diffusion models: a network removes noise step by step. One family per file."""
