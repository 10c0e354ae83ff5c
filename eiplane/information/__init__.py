"""Information in plain samples: entropy estimators, mutual information of two samples.

Whole layers are measured in :mod:`eiplane.pairwise` and :mod:`eiplane.joint`.
"""

from .entropies import Multiplicities, entropy, halved_bias, multiplicities
from .samples import mutual_information

__all__ = ["Multiplicities", "entropy", "halved_bias", "multiplicities", "mutual_information"]
