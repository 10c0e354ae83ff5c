"""The causal structure of neural networks, in bits.

``eiplane.analyze(weights)`` gives effective information, its pairwise part, sensitivity, degeneracy
and integrated information of every layer, and where it lies in the causal plane (Mattsson, Michaud
and Hoel, Entropy 22(12) 1429, 2020).
"""

from . import plot
from ._version import __version__
from .ablation import Ablation, ablate, delta_ei_parts
from .analyze import analyze
from .emergence import MacroUnits, Transitions, macro_units, tpm
from .information import entropy, mutual_information
from .joint import Convergence, SaturationWarning, convergence, ei_between, gaussian_ei
from .network import Activation, Layer, Network, Pool, get_activation, per_row
from .recurrence import ThroughTime, through_time
from .results import Decomposition, Joint, LayerResult, load
from .run import AssumedRangeWarning
from .training import Tracker

__all__ = [
    "Ablation",
    "Activation",
    "AssumedRangeWarning",
    "Convergence",
    "Decomposition",
    "Joint",
    "Layer",
    "LayerResult",
    "MacroUnits",
    "Network",
    "Pool",
    "SaturationWarning",
    "ThroughTime",
    "Tracker",
    "Transitions",
    "__version__",
    "ablate",
    "analyze",
    "convergence",
    "delta_ei_parts",
    "ei_between",
    "entropy",
    "gaussian_ei",
    "get_activation",
    "load",
    "macro_units",
    "mutual_information",
    "per_row",
    "plot",
    "through_time",
    "tpm",
]
