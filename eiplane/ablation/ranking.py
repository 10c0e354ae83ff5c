"""Which edges, or neurons, go first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analyze import analyze
from ..network import Layer, Network
from .delta import delta_ei_parts

__all__ = ["MEASURED", "importances", "masks"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: What has to be measured for a ranking by it.
MEASURED: dict[str, tuple[str, ...]] = {
    "ei": ("ei_parts",),
    "sensitivity": ("sensitivity",),
    "degeneracy": ("sensitivity", "ei_parts"),
    "delta_ei_parts": ("ei_parts",),
}

#: Options of ``analyze`` that the exact change of EI_parts has too.
_MANNER = ("threads", "executor", "progress")


def importances(
    by: str | Callable[[str, Array], Any],
    network: Network,
    layers: Mapping[str, Layer],
    options: Mapping[str, Any],
) -> dict[str, Array]:
    """Return how important each edge of the layers is, the shape of their weights.

    Parameters
    ----------
    by : str or callable
    network : Network
        That of the layers, for their ranges.
    layers : mapping of str to Layer
    options : mapping
        Of ``analyze``.

    Returns
    -------
    dict of str to ndarray
    """
    if callable(by):
        return {name: _given(by(name, _weight(x)), x) for name, x in layers.items()}
    if by == "weight":
        return {name: np.abs(_weight(x)) for name, x in layers.items()}
    if by == "random":
        rng = np.random.default_rng(options.get("rng", 0))
        return {name: rng.random(x.shape) for name, x in layers.items()}
    found = analyze(
        network, measures=MEASURED[by], layers=lambda name, _: name in layers, **options
    )
    ranks = {}
    for name, layer in layers.items():
        result = found[name]
        if by == "sensitivity":
            values = result.sensitivity_edges
        elif by == "degeneracy":
            values = np.asarray(result.sensitivity_edges) - np.asarray(result.ei_edges)
        elif by == "ei":
            values = result.ei_edges
        else:
            values = -delta_ei_parts(
                layer,
                bins=(result.in_bins, result.out_bins),
                in_range=result.in_range,
                out_range=result.out_range,
                outliers=result.outliers,
                **{k: v for k, v in options.items() if k in _MANNER},
            )
        ranks[name] = _given(values, layer)
    return ranks


def _weight(layer: Layer) -> Array:
    return np.asarray(layer.weight, dtype=np.float64)


def _given(values: Any, layer: Layer) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != layer.shape:
        raise ValueError(
            f"layer {layer.name!r}: by= gave an array of shape {array.shape}, and the weight has "
            f"{layer.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"layer {layer.name!r}: by= gave NaN or infinity for an edge")
    return array


def units_of(values: Array, structure: str) -> Array:
    """Return the importance of what is removed: of an edge, or of a neuron the sum of its edges."""
    if structure == "edges":
        return values
    other = tuple(i for i in range(values.ndim) if i != (0 if structure == "outputs" else 1))
    return np.asarray(values.sum(axis=other))


def masks(
    ranks: Mapping[str, Array], fraction: float, structure: str, order: str, scope: str
) -> dict[str, Mask]:
    """Return which edges or neurons of each layer are removed.

    Parameters
    ----------
    ranks : mapping of str to ndarray
        Importance of every edge.
    fraction : float
    structure, order, scope : str
        See :func:`eiplane.ablate`.

    Returns
    -------
    dict of str to ndarray of bool
        Of the weight's shape, or (n,) for neurons.
    """
    values = {name: units_of(v, structure) for name, v in ranks.items()}
    sign = 1.0 if order == "lowest" else -1.0
    if scope == "layer":
        return {
            name: _first(sign * v.ravel(), fraction).reshape(v.shape) for name, v in values.items()
        }
    flat = np.concatenate([sign * v.ravel() for v in values.values()])
    chosen, place, found = _first(flat, fraction), 0, {}
    for name, v in values.items():
        found[name] = chosen[place : place + v.size].reshape(v.shape)
        place += v.size
    return found


def _first(values: Array, fraction: float) -> Mask:
    chosen = np.zeros(values.size, dtype=bool)
    chosen[np.argsort(values, kind="stable")[: round(fraction * values.size)]] = True
    return chosen
