"""Whole vectors: EI of a layer, its bounds, the influence of nodes, groups, convergence.

A layer falls into independent pieces; each is exact or goes to an estimator.
"""

from .convergence import Convergence, convergence
from .engine import JointOptions, SaturationWarning, checked_memory, joint
from .groups import ei_between

__all__ = [
    "Convergence",
    "JointOptions",
    "SaturationWarning",
    "checked_memory",
    "convergence",
    "ei_between",
    "joint",
]
