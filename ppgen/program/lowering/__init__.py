"""Torch functions recorded as core ATen operations and replayed in JAX."""
