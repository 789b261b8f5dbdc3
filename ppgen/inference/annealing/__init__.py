"""Tempered paths from a simple density to a posterior: for sequential Monte Carlo and AIS."""
