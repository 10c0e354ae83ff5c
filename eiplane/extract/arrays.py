"""Networks from arrays, pairs and layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..network import Layer, LazyLayer, Network
from .entries import plain
from .options import ActivationChoice, activations_for

__all__ = ["from_sequence", "is_lone_pair", "is_matrix", "plain"]


def from_sequence(items: Sequence[Any], activation: ActivationChoice) -> Network:
    """Return the chain of some layers.

    Parameters
    ----------
    items : sequence
        Of weights, ``(weight, bias)`` pairs and :class:`eiplane.Layer`, in any mixture.
    activation : str, Activation, sequence or mapping of those, optional
        Of those that are no :class:`eiplane.Layer`; sigmoid when left out.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        For what is no layer, or sizes that do not chain.
    """
    if not items:
        raise ValueError("no layers were given; eiplane needs at least one weight matrix")
    given = [isinstance(item, Layer | LazyLayer) for item in items]
    if all(given) and activation is not None:
        raise ValueError("every eiplane.Layer brings its own activation; leave activation out")
    names = [
        str(item.name) if isinstance(item, Layer | LazyLayer) and item.name is not None else str(i)
        for i, item in enumerate(items)
    ]
    if isinstance(activation, str | Mapping) or not isinstance(activation, Sequence):
        free = [name for name, is_layer in zip(names, given, strict=True) if not is_layer]
        chosen = iter(activations_for(free, "sigmoid" if activation is None else activation))
    else:
        # One for each: those of ready layers have a place in the list but change nothing.
        every = activations_for(names, activation)
        chosen = iter([a for a, is_layer in zip(every, given, strict=True) if not is_layer])
    layers: list[Layer | LazyLayer] = []
    for name, item in zip(names, items, strict=True):
        if isinstance(item, Layer | LazyLayer):
            layers.append(item)
            continue
        weight, bias = item if _is_pair(item) else (item, None)
        layers.append(Layer(_numbers(weight), _numbers(bias), next(chosen), name))
    return Network(layers)


def _numbers(value: Any) -> Any:
    """Return what is no plain array as one; what is none stays for the layer to refuse."""
    odd = callable(getattr(value, "detach", None)) or hasattr(value, "__jax_array__")
    return plain(value) if odd else value


def is_matrix(items: Any) -> bool:
    """Return whether nested lists are one matrix of numbers, not a list of layers."""
    return bool(items) and all(
        isinstance(row, list | tuple)
        and bool(row)
        and all(isinstance(x, int | float | np.number) for x in row)
        for row in items
    )


def _is_pair(item: Any) -> bool:
    if not isinstance(item, list | tuple) or len(item) != 2 or is_matrix(item):
        return False
    return item[1] is None or np.ndim(_cheap(item[1])) == 1


def _cheap(value: Any) -> Any:
    detach = getattr(value, "detach", None)
    return np.empty(tuple(value.shape)) if callable(detach) else value


def is_lone_pair(items: Sequence[Any]) -> bool:
    """Return whether ``items`` is one ``(weight, bias)`` pair and not a list of layers."""
    return isinstance(items, tuple) and _is_pair(items) and np.ndim(_cheap(items[0])) >= 2
