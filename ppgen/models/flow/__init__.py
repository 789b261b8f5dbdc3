"""Flows: noise pushed through an invertible map, with an exact density. One family per file."""
