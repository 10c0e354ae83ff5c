"""What was measured: measures, a layer's results, the decomposition of a network.

Their table and their files are here as well. A new quantity is a row in :mod:`.quantities`.
"""

from .changes import Change, change_of, matched
from .decomposition import Decomposition, load
from .html import NUMBERS, html_edges
from .layer import LayerResult
from .measures import Joint, Pairwise, Skipped, Totals, VectorBounds
from .plain import plain
from .printed import ASCII_ERRORS, printable
from .quantities import MEASURES, TABLE, Quantity, bounds_of, error_of, row_of
from .table import ASSUMED, TOLD, between, columns_of, range_text, table_cell, with_error

__all__ = [
    "ASCII_ERRORS",
    "ASSUMED",
    "MEASURES",
    "NUMBERS",
    "TABLE",
    "TOLD",
    "Change",
    "Decomposition",
    "Joint",
    "LayerResult",
    "Pairwise",
    "Quantity",
    "Skipped",
    "Totals",
    "VectorBounds",
    "between",
    "bounds_of",
    "change_of",
    "columns_of",
    "error_of",
    "html_edges",
    "load",
    "matched",
    "plain",
    "printable",
    "range_text",
    "row_of",
    "table_cell",
    "with_error",
]
