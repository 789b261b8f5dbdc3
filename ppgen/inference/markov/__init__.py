"""What the No-U-Turn sampler is made of: where chains start, how they move, and how a long run survives."""
