"""What is measured: layers and their activations, and the discrete channels they become.

The bins of outputs become thresholds in :mod:`.channel`; the bin of an input follows from its draw
(``ei_bin_start`` in ``csrc/common/ei_channel.h``). A new activation is an entry in :mod:`.closed`,
or in :mod:`.known` if its pieces are to be found numerically.
"""

from .activation import Activation
from .automatic import automatic_range
from .channel import MAX_THRESHOLDS, Binning, Channel, Rule, discretize
from .feeds import evaluate, input_rule
from .known import get_activation, known_activations
from .layer import Layer, LazyLayer, real_array, refuse_masked
from .limits import FAR, LEAST, MAX_BINS, MOST, as_float, resolved
from .network import Network, Seen
from .noise import Noise, checked_noise
from .pool import Pool
from .ranges import (
    Context,
    Gather,
    Interval,
    Join,
    Known,
    LayerOutput,
    Mapped,
    Mixture,
    NetworkInput,
    Norm,
    Pairwise,
    RangeRule,
    Rows,
    Scaled,
    Unknown,
)
from .rows import per_row
from .spans import spans_of
from .stage import Stage
from .sums import RowSums
from .wiring import Feed, Meeting, Source, Wiring

__all__ = [
    "FAR",
    "LEAST",
    "MAX_BINS",
    "MAX_THRESHOLDS",
    "MOST",
    "Activation",
    "Binning",
    "Channel",
    "Context",
    "Feed",
    "Gather",
    "Interval",
    "Join",
    "Known",
    "Layer",
    "LayerOutput",
    "LazyLayer",
    "Mapped",
    "Meeting",
    "Mixture",
    "Network",
    "NetworkInput",
    "Noise",
    "Norm",
    "Pairwise",
    "Pool",
    "RangeRule",
    "RowSums",
    "Rows",
    "Rule",
    "Scaled",
    "Seen",
    "Source",
    "Stage",
    "Unknown",
    "Wiring",
    "as_float",
    "automatic_range",
    "checked_noise",
    "discretize",
    "evaluate",
    "get_activation",
    "input_rule",
    "known_activations",
    "per_row",
    "real_array",
    "refuse_masked",
    "resolved",
    "spans_of",
]
