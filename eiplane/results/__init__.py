"""What was measured: measures, a layer's results, the decomposition of a network.

Their table and their files are here as well.
"""

from .result import Decomposition, Joint, LayerResult, Pairwise, Skipped, load

__all__ = ["Decomposition", "Joint", "LayerResult", "Pairwise", "Skipped", "load"]
