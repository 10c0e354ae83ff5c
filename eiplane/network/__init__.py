"""What is measured: layers and their activations, and the discrete channels they become.

Bins of inputs and outputs are given their edges in :mod:`.channel`; a new activation is an entry in
:mod:`.activation`.
"""

from .activation import Activation, get_activation, known_activations
from .channel import (
    LEAST,
    MAX_BINS,
    MOST,
    Binning,
    Channel,
    Stage,
    automatic_range,
    discretize,
    resolved,
)
from .layer import Layer, LazyLayer, real_array
from .network import Network
from .pool import Pool

__all__ = [
    "LEAST",
    "MAX_BINS",
    "MOST",
    "Activation",
    "Binning",
    "Channel",
    "Layer",
    "LazyLayer",
    "Network",
    "Pool",
    "Stage",
    "automatic_range",
    "discretize",
    "get_activation",
    "known_activations",
    "real_array",
    "resolved",
]
