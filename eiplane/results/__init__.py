"""What was measured: measures, a layer's results, the decomposition of a network.

Their table and their files are here as well. A new quantity is a row in :mod:`.quantities`.
"""

from .decomposition import Decomposition, load
from .layer import LayerResult
from .measures import Joint, Pairwise, Skipped, VectorBounds
from .printed import ASCII_ERRORS, printable
from .quantities import MEASURES, TABLE, Quantity, bounds_of, error_of, row_of
from .table import ASSUMED, TOLD, between, range_text, with_error

__all__ = [
    "ASCII_ERRORS",
    "ASSUMED",
    "MEASURES",
    "TABLE",
    "TOLD",
    "Decomposition",
    "Joint",
    "LayerResult",
    "Pairwise",
    "Quantity",
    "Skipped",
    "VectorBounds",
    "between",
    "bounds_of",
    "error_of",
    "load",
    "printable",
    "range_text",
    "row_of",
    "with_error",
]
