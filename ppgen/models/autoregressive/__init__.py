"""Autoregressive families: exact densities by the chain rule. One family per file."""
