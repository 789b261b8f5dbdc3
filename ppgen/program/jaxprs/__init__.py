"""Traced JAX functions: graphs that know when they are equal, repeats rolled up, how XLA compiles."""
