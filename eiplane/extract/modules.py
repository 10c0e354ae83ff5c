"""Networks from torch modules: chains of Linear and activation modules."""

from __future__ import annotations

from typing import Any

from ..layer import Layer, Network
from ..result import Skipped
from .options import ExtractOptions

__all__ = ["from_module"]

_KNOWN = {
    "ReLU": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "SiLU": "silu",
    "Hardsigmoid": "hardsigmoid", "Softplus": "softplus", "Hardtanh": "hardtanh",
}  # fmt: skip


def from_module(module: Any, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a module.

    Parameters
    ----------
    module : torch.nn.Module
    options : ExtractOptions

    Returns
    -------
    network : Network
    skipped : tuple of Skipped
    """
    found: list[tuple[str, Any, str]] = []
    for name, part in module.named_modules():
        kind = type(part).__name__
        if kind == "Linear":
            found.append((name or "0", part, "identity"))
        elif found and kind in _KNOWN:
            found[-1] = (*found[-1][:2], _KNOWN[kind])
        elif found and kind == "LeakyReLU":
            found[-1] = (*found[-1][:2], f"leaky_relu({part.negative_slope})")
        elif found and kind == "ELU":
            found[-1] = (*found[-1][:2], f"elu({part.alpha})")
        elif found and kind == "GELU":
            found[-1] = (*found[-1][:2], "gelu_tanh" if part.approximate == "tanh" else "gelu")
    if not found:
        raise ValueError(f"{type(module).__name__} has no layer that eiplane can analyse")
    return Network(
        [
            Layer(p.weight, p.bias, act, name)  # type: ignore[arg-type]
            for name, p, act in found
        ]
    ), ()
