"""How a measurement is run: checked settings, ranges, random numbers, parallel work, progress.

The options of every engine are checked here; how anything is measured stands above.
"""

from .cuts import even_cuts
from .extent import Extent
from .keywords import check_keywords
from .lattice import REPLICATES, Points, points_of
from .parallel import (
    EACH,
    Progress,
    Runner,
    cancel_flag,
    default_threads,
    stop_if_cancelled,
)
from .progress import progress_bar, stage
from .quantiles import QuantileSketch
from .ranges import AssumedRangeWarning, warn_assumed
from .sampling import Purpose, Sampling, entropy_of
from .settings import (
    CHOICES,
    Range,
    Settings,
    check_environment,
    checked_bins,
    checked_range,
    checked_samples,
    checked_threads,
)
from .together import Helpers

__all__ = [
    "CHOICES",
    "EACH",
    "REPLICATES",
    "AssumedRangeWarning",
    "Extent",
    "Helpers",
    "Points",
    "Progress",
    "Purpose",
    "QuantileSketch",
    "Range",
    "Runner",
    "Sampling",
    "Settings",
    "cancel_flag",
    "check_environment",
    "check_keywords",
    "checked_bins",
    "checked_range",
    "checked_samples",
    "checked_threads",
    "default_threads",
    "entropy_of",
    "even_cuts",
    "points_of",
    "progress_bar",
    "stage",
    "stop_if_cancelled",
    "warn_assumed",
]
