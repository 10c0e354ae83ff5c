"""Edge by edge: EI parts and sensitivity, exact (:mod:`.exact`) or sampled (:mod:`.sampled`).

Several layers at once are sampled on lattices (:mod:`.replicated`), one input at a time is followed
along a line (:mod:`.lines`), few inputs are cut up (:mod:`.simplices`), and what is one layer in
truth is taken as one (:mod:`.straight`). Parts of modules are called (:mod:`.called`).

:mod:`.choice` decides which.
"""

from . import exact, sampled
from .called import Called
from .choice import Small, check_method, measure, totals
from .exact import output_marginals
from .measures import Measure
from .noisy import NoisyLayer
from .removal import ei_parts_without
from .straight import merged
from .surroundings import Surroundings

__all__ = [
    "Called",
    "Measure",
    "NoisyLayer",
    "Small",
    "Surroundings",
    "check_method",
    "ei_parts_without",
    "exact",
    "measure",
    "merged",
    "output_marginals",
    "sampled",
    "totals",
]
