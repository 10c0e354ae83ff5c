"""Information in plain samples: entropy estimators, mutual information of two samples.

Ranges and quantiles of streams as well: they decide the bins.

Whole layers are measured in :mod:`eiplane.pairwise` and :mod:`eiplane.joint`.
"""

from .entropies import Multiplicities, entropy, halved_bias, multiplicities
from .extent import Extent
from .quantiles import QuantileSketch
from .samples import mutual_information

__all__ = [
    "Extent",
    "Multiplicities",
    "QuantileSketch",
    "entropy",
    "halved_bias",
    "multiplicities",
    "mutual_information",
]
