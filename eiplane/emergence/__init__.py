"""Transition matrices and their macro scales, for those who come from causal emergence."""

from .macro import macro_units
from .scale import PER_STATE, Scale
from .tpm import tpm
from .transitions import MacroScale, Transitions
from .units import MacroUnit, MacroUnits

__all__ = [
    "PER_STATE",
    "MacroScale",
    "MacroUnit",
    "MacroUnits",
    "Scale",
    "Transitions",
    "macro_units",
    "tpm",
]
