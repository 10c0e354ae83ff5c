"""The causal structure of neural networks, in bits."""

from .activation import Activation, get_activation
from .layer import Layer, Network
from .result import Decomposition, LayerResult, load

__all__ = [
    "Activation",
    "Decomposition",
    "Layer",
    "LayerResult",
    "Network",
    "get_activation",
    "load",
]
