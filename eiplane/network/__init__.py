"""What is measured: layers and their activations, and the discrete channels they become.

The bins of outputs become thresholds in :mod:`.channel`; the bin of an input follows from its draw
(``ei_bin_start`` in ``csrc/common/ei_channel.h``). A new activation is an entry in :mod:`.closed`,
or in :mod:`.known` if its pieces are to be found numerically.
"""

from .activation import Activation
from .channel import MAX_BINS, Binning, Channel, Rule, automatic_range, discretize
from .known import get_activation, known_activations
from .layer import Layer, LazyLayer, real_array
from .network import Network
from .pool import Pool
from .rows import per_row
from .stage import Stage

__all__ = [
    "MAX_BINS",
    "Activation",
    "Binning",
    "Channel",
    "Layer",
    "LazyLayer",
    "Network",
    "Pool",
    "Rule",
    "Stage",
    "automatic_range",
    "discretize",
    "get_activation",
    "known_activations",
    "per_row",
    "real_array",
]
