"""The score of a model against what is removed from it: :func:`eiplane.ablate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analyze import analyze
from ..extract import Extracted, ExtractOptions, to_network
from ..network import Layer, as_float
from ..run import Progress, check_keywords, progress_bar
from .curve import Ablation
from .modules import held_module
from .places import Held, held_arrays
from .ranking import MEASURED, importances, masks

__all__ = ["ablate"]

Mask = NDArray[np.bool_]

_NAMES = (*MEASURED, "weight", "random")

#: What each option may be.
_CHOICES = {
    "structure": ("edges", "inputs", "outputs"),
    "order": ("lowest", "highest"),
    "scope": ("layer", "network"),
}

#: Options of ``analyze`` that make no sense here, and why.
_NOT = {
    "measures": "by says what edges are worth",
    "spans": "edges of single layers are removed",
    "strict": "what is left whole is listed in the result's skipped",
    "ranges": "give in_range and out_range",
    "edges": "they are what is removed",
}

#: Options of ``analyze`` that reading the model uses up.
_READING = ("activation", "layers", "input_size", "input_data", "key")


def ablate(
    model: Any,
    by: str | Callable[[str, NDArray[np.float64]], Any] = "ei",
    *,
    evaluate: Callable[[Any], Any],
    fraction: float | Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    structure: str = "edges",
    order: str = "lowest",
    scope: str = "layer",
    progress: bool | Progress | None = None,
    **options: Any,
) -> Ablation:
    """Remove a model's edges, or neurons, in the order of what they are worth, and score the rest.

    The order is found once, on the whole model. Removing is setting to zero; after every score the
    model is what it was before, also if ``evaluate`` fails.

    Parameters
    ----------
    model : torch.nn.Module, or arrays as :func:`eiplane.analyze` takes them
        A module is changed in place and put back, with whatever ``evaluate`` did to its tensors;
        arrays are copied, in the structure that they came in. A number that several layers share
        is worth the sum of what it is worth to each, and goes in all of them at once. Weights that
        are the model's numbers times a factor, or in another order (before a batch norm, pruned,
        of transposed convolutions), are found.
    by : str or callable
        What an edge is worth: ``"ei"``, ``"sensitivity"`` or ``"degeneracy"`` (sensitivity less
        EI) of the edge; ``"delta_ei_parts"``, by how much EI_parts of the layer falls without it
        (:func:`eiplane.delta_ei_parts`); ``"weight"``, its absolute weight, as in magnitude
        pruning; ``"random"``. Or a function of a layer's name and weight, which returns an array
        of the weight's shape.
    evaluate : callable
        Gets the model, returns its score: one number.
    fraction : float or sequence of float
        Shares to remove, 0 to 1; nothing removed comes first in the result in any case.
    structure : {"edges", "inputs", "outputs"}
        ``"outputs"``: whole rows of a weight, with the bias, so the neuron is the activation of 0.
        ``"inputs"``: whole columns, all that a neuron says to the layer. A neuron is worth the sum
        of its edges.
    order : {"lowest", "highest"}
        Whether what is worth least goes first, or what is worth most.
    scope : {"layer", "network"}
        Whether the share is that of every layer, or of all layers together.
    progress : bool or callable, optional
        As in :func:`eiplane.analyze`.
    **options
        Of :func:`eiplane.analyze`: which layers, how the model is read, bins, ranges, seed.

    Returns
    -------
    Ablation

    Raises
    ------
    TypeError, ValueError
        For bad input, and where no layer's weights are numbers of the model itself.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> weights = [np.array([[3.0, 0.1], [0.1, 3.0]])]
    >>> curve = eiplane.ablate(weights, "ei", evaluate=lambda w: w[0].sum(), fraction=0.5)
    >>> curve.removed.tolist(), curve.scores.round(1).tolist()
    ([0, 2], [6.2, 6.0])
    """
    _check(by, structure, order, scope, evaluate)
    shares = _shares(fraction)
    found, rest = _read(model, options)
    layers, skipped = _layers(found, by, structure)
    holder = _held(model, list(layers.values()), options)
    lost = [name for name in layers if name not in holder.edits]
    skipped += [f"{name}: each of its weights is computed from several numbers" for name in lost]
    layers = {name: layer for name, layer in layers.items() if name in holder.edits}
    if structure == "outputs":
        skipped += [
            f"the bias of {name}: it is computed, and stays when a neuron goes"
            for name, layer in layers.items()
            if layer.bias is not None and name not in holder.biases and np.any(layer.bias)
        ]
    if not layers:
        raise ValueError("there is nothing to remove: " + "; ".join(skipped))
    ranks = holder.together(importances(by, found.network, layers, rest))
    removed, scores, total = [], [], 0
    with progress_bar(progress) as tell:
        for done, share in enumerate(shares, 1):
            chosen = masks(ranks, share, structure, order, scope)
            total = sum(mask.size for mask in chosen.values())
            removed.append(sum(int(mask.sum()) for mask in chosen.values()))
            scores.append(_score(holder, evaluate, chosen, layers, structure))
            if tell is not None:
                tell(done, len(shares), "ablation")
    name = by if isinstance(by, str) else getattr(by, "__name__", "callable")
    return Ablation(
        name, structure, order, scope, np.array(shares), np.array(removed), total,
        np.array(scores), tuple(layers), tuple(skipped),
    )  # fmt: skip


def _check(by: Any, structure: str, order: str, scope: str, evaluate: Any) -> None:
    if not callable(by) and by not in _NAMES:
        names = ", ".join(map(repr, _NAMES))
        raise ValueError(f"by must be {names} or a function, not {by!r}")
    for what, value in (("structure", structure), ("order", order), ("scope", scope)):
        if value not in _CHOICES[what]:
            raise ValueError(
                f"{what} must be {' or '.join(map(repr, _CHOICES[what]))}, not {value!r}"
            )
    if not callable(evaluate):
        raise TypeError(f"evaluate must be a function of the model, not {evaluate!r}")


def _shares(fraction: Any) -> list[float]:
    given = np.atleast_1d(np.asarray(fraction, dtype=np.float64))
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"fraction must be numbers from 0 to 1, not {fraction!r}")
    return sorted({0.0, *given.tolist()})


def _read(model: Any, options: Mapping[str, Any]) -> tuple[Extracted, dict[str, Any]]:
    """Return the model's network, and the options that are left for measuring it."""
    for name, why in _NOT.items():
        if name in options:
            raise TypeError(f"ablate() takes no {name}: {why}")
    check_keywords("ablate", options, analyze)
    reading = {k: v for k, v in options.items() if k in _READING}
    found = to_network(model, ExtractOptions(**reading))
    return found, {k: v for k, v in options.items() if k not in _READING}


def _held(model: Any, layers: list[Layer], options: Mapping[str, Any]) -> Held:
    if not (hasattr(model, "named_parameters") and hasattr(model, "named_modules")):
        return held_arrays(model, layers)
    reading = {k: v for k, v in options.items() if k in _READING}

    def read() -> dict[str, Layer]:
        network = to_network(model, ExtractOptions(**reading)).network
        return {str(lazy.name): lazy.load() for lazy in network}

    return held_module(model, layers, read)


def _layers(found: Extracted, by: Any, structure: str) -> tuple[dict[str, Layer], list[str]]:
    """Return the layers that can be ranked, and what cannot be with the reason."""
    names = found.selected or tuple(str(x.name) for x in found.network)
    layers: dict[str, Layer] = {}
    skipped = [f"{s.name}: {s.reason}" for s in found.skipped]
    for lazy in found.network:
        layer, name = lazy.load(), str(lazy.name)
        if name not in names:
            continue
        if layer.pool is not None and by in MEASURED:
            skipped.append(f"{name}: pooled, so that its edges are not its weights")
        elif layer.groups > 1 and structure == "inputs":
            skipped.append(f"{name}: grouped, so that a column of its weight is several inputs")
        else:
            layers[name] = layer
    return layers, skipped


def _score(
    holder: Held,
    evaluate: Callable[[Any], Any],
    chosen: Mapping[str, Mask],
    layers: Mapping[str, Layer],
    structure: str,
) -> float:
    edges, rows = {}, {}
    for name, mask in chosen.items():
        shape = layers[name].shape
        if structure == "edges":
            edges[name] = mask
            continue
        axis = 0 if structure == "outputs" else 1
        spread = mask.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        edges[name] = np.broadcast_to(spread, shape)
        if structure == "outputs":
            rows[name] = mask
    with holder.without(edges, rows) as model:
        value = evaluate(model)
    try:
        score = as_float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"evaluate has to return one number, not {value!r}") from error
    if math.isnan(score):
        share = sum(int(m.sum()) for m in chosen.values())
        raise ValueError(f"evaluate returned NaN with {share} {structure} removed")
    return score
