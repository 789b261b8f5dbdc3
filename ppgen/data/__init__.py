"""Datasets with their kind, levels and splits."""

from ppgen.data.catalog import describe, load, names
from ppgen.data.dataset import Dataset, Observations, as_dataset

__all__ = ["Dataset", "Observations", "as_dataset", "describe", "load", "names"]
