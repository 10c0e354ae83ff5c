"""A single layer, as the functions that take one are given it, made a channel."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..network import Channel, Layer, automatic_range, discretize, get_activation
from ..run import Settings

__all__ = ["as_layer", "channel_of"]


def as_layer(layer: Any, activation: Any) -> Layer:
    """Return a Layer from what :func:`eiplane.ei_between` takes: a Layer, a weight, (W, b)."""
    if isinstance(layer, Layer):
        if activation is not None:
            raise ValueError("activation is for bare weights; this Layer has its own")
        return layer.load()
    if isinstance(layer, str | os.PathLike) or hasattr(layer, "parameters"):
        raise TypeError(
            f"one layer is measured here: an eiplane.Layer, a weight, or (weight, bias), not "
            f"{type(layer).__name__}; eiplane.analyze takes models and files"
        )
    kind = get_activation("sigmoid" if activation is None else activation)
    if isinstance(layer, tuple) and len(layer) == 2 and np.ndim(layer[0]) == 2:
        return Layer(layer[0], layer[1], kind)
    return Layer(layer, None, kind)


def channel_of(layer: Any, activation: Any, settings: Settings) -> Channel:
    """Return the channel of a single layer.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
    activation : str or Activation or None
        Of a bare weight.
    settings : Settings

    Returns
    -------
    Channel
    """
    found = as_layer(layer, activation)
    name = str(found.name)
    settings.check_names([name])
    span, own = settings.range_of(0, 1, name), settings.in_range_of(name) or settings.input_range
    if span == "auto":
        span = automatic_range(found, own)
    return discretize(found, settings.binning, own, span)
