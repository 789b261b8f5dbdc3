"""Numerics that models and inference share: pure functions, and Markov kernels as `init` and `step`."""
