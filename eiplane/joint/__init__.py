"""Whole vectors: EI of a layer, its bounds, the influence of nodes, groups, convergence.

A layer falls into independent pieces (``plan``); each is exact or goes to an estimator, one a file,
that ``choice`` picks (``estimator`` is what they all are); ``assemble`` puts the pieces together.
"""

from .called import vector_bounds
from .closed import closed_bounds
from .convergence import Convergence, convergence
from .engine import joint
from .groups import between, ei_between
from .layers import as_layer, channel_of
from .noisy import gaussian_ei, noisy_bounds
from .options import JointOptions, checked_memory
from .saturation import SaturationWarning, once_a_layer

__all__ = [
    "Convergence",
    "JointOptions",
    "SaturationWarning",
    "as_layer",
    "between",
    "channel_of",
    "checked_memory",
    "closed_bounds",
    "convergence",
    "ei_between",
    "gaussian_ei",
    "joint",
    "noisy_bounds",
    "once_a_layer",
    "vector_bounds",
]
