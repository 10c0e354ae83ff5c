"""The causal structure of neural networks, in bits.

``eiplane.analyze(weights)`` gives effective information, its pairwise part, sensitivity, degeneracy
and integrated information of every layer, and where it lies in the causal plane (Mattsson, Michaud
and Hoel, Entropy 22(12) 1429, 2020).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .analyze import analyze
from .information import entropy, mutual_information
from .joint import Convergence, SaturationWarning, convergence, ei_between, gaussian_ei
from .network import Activation, Layer, Network, Pool, get_activation, per_row
from .results import Decomposition, Joint, LayerResult, load
from .run import AssumedRangeWarning

if TYPE_CHECKING:  # the same as _LATER says
    from . import plot
    from .ablation import Ablation, delta_ei_parts
    from .ablation.ablate import ablate
    from .emergence import MacroUnits, Transitions, macro_units, tpm
    from .recurrence import ThroughTime, through_time
    from .training import Tracker

__all__ = [
    "Ablation",
    "Activation",
    "AssumedRangeWarning",
    "Convergence",
    "Decomposition",
    "Joint",
    "Layer",
    "LayerResult",
    "MacroUnits",
    "Network",
    "Pool",
    "SaturationWarning",
    "ThroughTime",
    "Tracker",
    "Transitions",
    "__version__",
    "ablate",
    "analyze",
    "convergence",
    "delta_ei_parts",
    "ei_between",
    "entropy",
    "gaussian_ei",
    "get_activation",
    "load",
    "macro_units",
    "mutual_information",
    "per_row",
    "plot",
    "through_time",
    "tpm",
]

#: What most programs have no use for is imported when it is first asked for, from these rooms.
_LATER = {
    "plot": (),
    "ablation": ("Ablation", "ablate", "delta_ei_parts"),
    "emergence": ("MacroUnits", "Transitions", "macro_units", "tpm"),
    "recurrence": ("ThroughTime", "through_time"),
    "training": ("Tracker",),
}


def __getattr__(name: str) -> Any:
    for room, names in _LATER.items():
        if name == room or name in names:
            module = import_module(f".{room}", __name__)
            found = module if name == room else getattr(module, name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
