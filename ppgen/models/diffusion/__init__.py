"""Diffusion models: noise is undone step by step, by one network. One member a file."""
