"""Datasets with their kind, levels and splits."""

from ppgen.data.catalog import describe, load, names
from ppgen.data.dataset import Dataset, Labels, Observations, as_dataset
from ppgen.data.lazy import LazyRows

__all__ = ["Dataset", "Labels", "LazyRows", "Observations", "as_dataset", "describe", "load", "names"]
