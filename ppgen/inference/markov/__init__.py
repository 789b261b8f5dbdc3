"""The parts of the No-U-Turn sampler: starting points, chains, and checkpoints."""
