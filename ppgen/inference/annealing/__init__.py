"""The way from a simple density to a posterior, by temperature: for sequential Monte Carlo and AIS."""
