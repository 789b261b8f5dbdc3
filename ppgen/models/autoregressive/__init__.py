"""The chain rule's family: exact densities, one conditional at a time; one member a file."""
