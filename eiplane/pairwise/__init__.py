"""Edge by edge: EI parts and sensitivity, exact (:mod:`.exact`) or sampled (:mod:`.sampled`).

:mod:`.choice` decides which.
"""

from . import exact, sampled
from .choice import check_method, measure
from .exact import output_marginals
from .measures import Measure
from .noisy import NoisyLayer
from .removal import ei_parts_without
from .surroundings import Surroundings

__all__ = [
    "Measure",
    "NoisyLayer",
    "Surroundings",
    "check_method",
    "ei_parts_without",
    "exact",
    "measure",
    "output_marginals",
    "sampled",
]
