"""Energy-based models: unnormalised densities, and chains that draw from them. One family per file."""
