"""The causal structure of neural networks, in bits.

``eiplane.analyze(weights)`` gives effective information, its pairwise part, sensitivity, degeneracy
and integrated information of every layer, and where it lies in the causal plane (Mattsson, Michaud
and Hoel, Entropy 22(12) 1429, 2020).
"""

from . import plot
from ._version import __version__
from .activation import Activation, get_activation
from .analyze import analyze
from .convergence import Convergence, convergence
from .entropy import entropy
from .groups import ei_between
from .information import mutual_information
from .joint import SaturationWarning
from .layer import Layer, Network, Pool
from .result import Decomposition, Joint, LayerResult, load
from .track import Tracker

__all__ = [
    "Activation",
    "Convergence",
    "Decomposition",
    "Joint",
    "Layer",
    "LayerResult",
    "Network",
    "Pool",
    "SaturationWarning",
    "Tracker",
    "__version__",
    "analyze",
    "convergence",
    "ei_between",
    "entropy",
    "get_activation",
    "load",
    "mutual_information",
    "plot",
]
