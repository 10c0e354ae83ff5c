"""From what a user has (arrays, modules, files) to a :class:`eiplane.Network`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import warn_user
from ..network import Layer, LazyLayer, Network
from ..results import Skipped
from .arrays import from_sequence, is_lone_pair, is_matrix
from .between import Between, between
from .called import parts_of
from .keras import example_of, from_keras, is_keras, is_partial
from .options import Extracted, ExtractOptions, matches, select
from .programs import is_program, module_of
from .sklearn import from_sklearn, is_sklearn
from .state import from_mapping

__all__ = [
    "Between",
    "ExtractOptions",
    "Extracted",
    "between",
    "is_model",
    "parts_of",
    "to_network",
]

_NO_SEQUENCE = (bytes, bytearray, set, frozenset)


def is_model(weights: Any) -> bool:
    """Return whether something is a model of a library, which may be callable, and not a path."""
    return _is_module(weights) or is_program(weights) or _library(weights) is not None


def to_network(weights: Any, options: ExtractOptions | None = None) -> Extracted:
    """Return the network that weights stand for.

    Parameters
    ----------
    weights : object
        One array; a list of arrays, of ``(W, b)`` pairs, of :class:`eiplane.Layer`; a mapping of
        names to arrays, such as a state dict; a ``torch.nn.Module``; a model of Keras 3; an MLP of
        scikit-learn; a ``torch.export.ExportedProgram``; the path of a ``.npz``, ``.safetensors``,
        ``.pt``, ``.pt2`` or ``.onnx`` file, or of a directory of ``.safetensors`` shards.
    options : ExtractOptions, optional

    Returns
    -------
    Extracted

    Raises
    ------
    TypeError
        For what holds no weights.
    ValueError
        For weights that make no network, a bad file, or an option that does not fit.

    Warns
    -----
    UserWarning
        Once, if parts were skipped; with ``strict`` it is a ValueError.
    """
    options = options or ExtractOptions()
    runs = _can_run(weights) and options.input_data is not None
    if options.quantiles is not None and not (runs or isinstance(weights, Network)):
        raise ValueError(_no_data(weights))
    network, skipped = _read(weights, options)
    if options.quantiles is not None and not network.seen:
        raise ValueError(_no_data(weights))
    selected = select(network.layers, options.layers)
    if options.layers is not None and not callable(options.layers):
        skipped = tuple(s for s in skipped if matches(s.name, None, options.layers))
    if skipped:
        listed = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:8])
        more = f"; and {len(skipped) - 8} more" if len(skipped) > 8 else ""
        count = "1 part was" if len(skipped) == 1 else f"{len(skipped)} parts were"
        message = f"{count} not analysed: {listed}{more}"
        if options.strict:
            raise ValueError(f"strict: {message}")
        warn_user(message)
    return Extracted(network, skipped, selected)


def _read(weights: Any, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    library = _library(weights)
    if library is not None:
        if options.activation is not None:
            raise ValueError(f"a model of {library} brings its own activations; leave it out")
        return _of_library(weights, options)
    if _is_module(weights):
        if options.activation is not None:
            raise ValueError("a torch Module brings its own activations; leave activation out")
        from .modules import from_module

        return from_module(weights, options)
    if is_program(weights) or _is_file(weights, ".pt2"):
        return _of_program(weights, options)
    if _is_file(weights, ".onnx"):
        from .tensors import from_path

        return from_path(Path(weights), options)
    if options.input_size is not None or options.input_data is not None:
        raise ValueError(_needs_run(weights))
    if isinstance(weights, str | os.PathLike):
        from .tensors import from_path

        return from_path(Path(weights), options)
    if options.key is not None and not isinstance(weights, Mapping):
        raise ValueError(_needs_file(weights))
    activation = options.activation
    if isinstance(weights, Network):
        if activation is not None:
            raise ValueError("an eiplane.Network brings its own activations; leave activation out")
        return weights, ()
    if isinstance(weights, Layer | LazyLayer):
        return from_sequence([weights], activation), ()
    if isinstance(weights, Mapping):
        return from_mapping(weights, activation, "the mapping of weights", options.key)
    if hasattr(weights, "__array__") or hasattr(weights, "detach"):
        return from_sequence([weights], activation), ()
    if isinstance(weights, list | tuple) and not is_matrix(weights):
        items = [weights] if is_lone_pair(weights) else weights
        return from_sequence(items, activation), ()
    if isinstance(weights, list | tuple):
        return from_sequence([weights], activation), ()
    if hasattr(weights, "__iter__") and not isinstance(weights, _NO_SEQUENCE):
        return from_sequence(list(weights), activation), ()
    held = next((n for n in ("params", "parameters", "state_dict") if hasattr(weights, n)), "")
    told = f"; pass what its {held} holds" if held else ""
    if type(weights).__module__.startswith("flax.") or _is_nnx(weights):
        told = "; pass its tree of parameters (flax.nnx.state(model), or state.params)"
    raise TypeError(
        f"weights must be an array, a list of arrays, of (W, b) pairs or of eiplane.Layer, a state "
        f"dict, a torch Module or the path of a file of weights, not {type(weights).__name__}{told}"
    )


def _is_nnx(weights: Any) -> bool:
    module = getattr(sys.modules.get("flax.nnx"), "Module", None)
    return module is not None and isinstance(weights, module)


def _library(weights: Any) -> str | None:
    """Return the library of a model that is read by its documented attributes."""
    if is_keras(weights):
        return "Keras"
    return "scikit-learn" if is_sklearn(weights) else None


def _of_library(weights: Any, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    if is_sklearn(weights):
        _refuse_inputs(weights, options)
        return from_sklearn(weights), ()
    if not _is_module(weights):
        _refuse_inputs(weights, options)
        found = from_keras(weights)
        if found is None:
            raise ValueError(
                f"the Keras model {weights.name!r} is no Sequential or functional model: only "
                "running it would show how its layers are joined; pass its weights as arrays, or "
                "use the torch backend"
            )
        return found
    if options.key is not None:
        raise ValueError(_needs_file(weights))
    found, error = None, None
    if options.quantiles is None:
        try:
            found = from_keras(weights)
        except ValueError as raised:
            if not weights.built:
                raise
            error = raised
    if found is not None and not is_partial(found[1]):
        return found
    from .modules import from_module

    example = None if options.input_size or options.input_data is not None else example_of(weights)
    try:
        run = from_module(weights, options, example)
    except ValueError as raised:
        if found is None:
            raise raised if error is None else error from None
        return found
    # What is run is seen; where that shows no more, it is named as it would be anywhere.
    return run if found is None or len(run[1]) < len(found[1]) else found


def _refuse_inputs(weights: Any, options: ExtractOptions) -> None:
    """Raise ValueError for options that a model which is not run has no use for."""
    if options.input_size is not None or options.input_data is not None:
        raise ValueError(_needs_run(weights))
    if options.key is not None:
        raise ValueError(_needs_file(weights))


def _needs_run(weights: Any) -> str:
    return (
        "input_size and input_data are for torch modules and ONNX graphs; leave them out for "
        f"{_what(weights)}"
    )


def _needs_file(weights: Any) -> str:
    return (
        "key= chooses among the state dicts of a mapping or a .pt file; leave it out for "
        f"{_what(weights)}"
    )


def _no_data(weights: Any) -> str:
    if _can_run(weights):
        return (
            "ranges='data' takes each layer's range from input_data: give a batch, a list of "
            "batches or a DataLoader"
        )
    return (
        "ranges='data' is for torch modules and ONNX graphs, which can be run on data, "
        f"not for {_what(weights)}"
    )


def _what(weights: Any) -> str:
    """Return what to call weights: their file, or their type."""
    return str(weights) if isinstance(weights, str | os.PathLike) else type(weights).__name__


def _of_program(weights: Any, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a program of torch.export, an object or a file."""
    if options.activation is not None:
        raise ValueError("a program brings its own activations; leave activation out")
    from .modules import from_module

    if is_program(weights):
        module, example = module_of(weights)
        return from_module(module, options, example)
    from .pt2 import read_program

    module, example = read_program(Path(weights), options.key)
    try:
        return from_module(module, options, example)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error


def _can_run(weights: Any) -> bool:
    """Return whether something is a module, a graph or a program."""
    return _is_module(weights) or is_program(weights) or _is_file(weights, ".onnx", ".pt2")


def _is_file(weights: Any, *ends: str) -> bool:
    return isinstance(weights, str | os.PathLike) and str(weights).lower().endswith(ends)


def _is_module(weights: Any) -> bool:
    # A module can only exist where torch is imported already: never import it to find out.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(weights, torch.nn.Module)
