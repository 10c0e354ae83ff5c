"""Edge by edge: EI parts and sensitivity, exact (:mod:`.exact`) or sampled (:mod:`.sampled`).

``eiplane.analyze`` decides which.
"""

from . import exact, sampled
from .exact import output_marginals

__all__ = ["exact", "output_marginals", "sampled"]
