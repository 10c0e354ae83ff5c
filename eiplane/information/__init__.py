"""Information in plain samples: entropy estimators, mutual information of two samples.

Whole layers are measured in :mod:`eiplane.pairwise` and :mod:`eiplane.joint`.
"""

from .entropies import Multiplicities, entropy, halved_bias, multiplicities
from .replicates import Jackknifed, information_of, jackknife, never_seen
from .samples import mutual_information

__all__ = [
    "Jackknifed",
    "Multiplicities",
    "entropy",
    "halved_bias",
    "information_of",
    "jackknife",
    "multiplicities",
    "mutual_information",
    "never_seen",
]
