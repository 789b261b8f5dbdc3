"""Bayesian models, each a plain program for ``ppgen.infer``."""
