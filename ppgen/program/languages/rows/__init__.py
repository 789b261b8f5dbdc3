"""Programs of rows, an adapter a language: apart from the languages, so that torch's need no JAX."""

from ppgen.program.languages.rows.row_programs import (
    Batch,
    Parameters,
    Place,
    RowPrograms,
    RowStatement,
    RowTrace,
)

__all__ = ["Batch", "Parameters", "Place", "RowPrograms", "RowStatement", "RowTrace"]
