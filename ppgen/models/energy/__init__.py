"""Models that weigh: a density known up to a constant, and chains that draw from it; one member a file."""
