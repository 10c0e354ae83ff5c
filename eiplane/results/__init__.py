"""What was measured: measures, a layer's results, the decomposition of a network.

Their table and their files are here as well. A new quantity is a row in :mod:`.quantities`.
"""

from .decomposition import Decomposition, load
from .layer import LayerResult
from .measures import Joint, Pairwise, Skipped
from .quantities import MEASURES, TABLE, Quantity, bounds_of, error_of, row_of

__all__ = [
    "MEASURES",
    "TABLE",
    "Decomposition",
    "Joint",
    "LayerResult",
    "Pairwise",
    "Quantity",
    "Skipped",
    "bounds_of",
    "error_of",
    "load",
    "row_of",
]
