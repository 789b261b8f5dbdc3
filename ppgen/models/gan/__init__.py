"""Implicit families: data are a function of noise, trained against a critic. One family per file."""
