"""Where the weights of a torch Module's layers lie in its tensors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Layer
from .computed import batch_norm_of, sources_of, writing
from .places import Edit, Held, Mask

__all__ = ["held_module"]


def held_module(
    model: Any, layers: Sequence[Layer], read: Callable[[], Mapping[str, Layer]]
) -> Held:
    """Find the layers' weights in a module's parameters and buffers.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place, and put back as a whole: also what ``evaluate`` did to its tensors, and
        whether its parts are training.
    layers : sequence of Layer
    read : callable
        Returns the module's layers as it is then, by name.

    Returns
    -------
    Held
    """
    torch = sys.modules["torch"]
    tensors = {n: t.detach() for n, t in _tensors(model)}
    edits: dict[str, Edit] = {}
    biases: dict[str, Edit] = {}
    places: dict[str, tuple[Any, NDArray[np.int64]]] = {}
    for layer in layers:
        for what, array, found in (
            ("weight", layer.weight, edits),
            ("bias", layer.bias, biases),
        ):
            view = None if array is None else _within(torch, tensors, array, str(layer.name), what)
            if view is not None:
                found[str(layer.name)] = _view_edit(torch, view)
                if what == "weight":
                    places[str(layer.name)] = _offsets(view)
    lost = [layer for layer in layers if str(layer.name) not in edits]
    for name, (key, index) in sources_of(lost, tensors, read).items() if lost else ():
        edits[name] = _place_edit(torch, tensors[key], index)
        memory = tensors[key].untyped_storage().data_ptr()
        places[name] = (memory, _storage_places(tensors[key], index))
    for layer in layers:
        if layer.bias is not None and str(layer.name) not in biases:
            behind = batch_norm_of(layer, model)
            if behind:
                biases[str(layer.name)] = _rows_edit(torch, behind)
    return Held(model, edits, biases, places, _restorer(torch, model, tensors))


def _tensors(model: Any) -> list[tuple[str, Any]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _restorer(torch: Any, model: Any, tensors: Mapping[str, Any]) -> Callable[[], None]:
    """Return what puts the whole module back."""
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    training = {module: module.training for module in model.modules()}

    def whole() -> None:
        live = dict(_tensors(model))
        for name, tensor in tensors.items():
            with writing(torch, tensor):
                tensor.copy_(copies[name])
                now = live.get(name)
                if now is not None and now.data_ptr() != tensor.data_ptr():
                    now.data = tensor  # it was given other memory
        for module, mode in training.items():
            module.training = mode

    return whole


def _view_edit(torch: Any, view: Any) -> Edit:
    def edit(mask: Mask) -> None:
        with writing(torch, view):
            view.masked_fill_(torch.as_tensor(np.ascontiguousarray(mask)).to(view.device), 0)

    return edit


def _place_edit(torch: Any, tensor: Any, index: NDArray[np.int64]) -> Edit:
    def edit(mask: Mask) -> None:
        chosen = index[mask]
        where = np.unravel_index(chosen[chosen >= 0], tuple(tensor.shape))
        with writing(torch, tensor):
            tensor[tuple(torch.as_tensor(i).to(tensor.device) for i in where)] = 0

    return edit


def _rows_edit(torch: Any, tensors: Sequence[Any]) -> Edit:
    def edit(mask: Mask) -> None:
        for tensor in tensors:
            with writing(torch, tensor):
                tensor.masked_fill_(torch.as_tensor(mask).to(tensor.device), 0)

    return edit


def _offsets(view: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the memory that a view is of, and where in it each of its numbers lies."""
    grids = np.ogrid[tuple(slice(n) for n in view.shape)]
    place = sum((g * s for g, s in zip(grids, view.stride(), strict=True)), np.int64(0))
    return view.untyped_storage().data_ptr(), np.asarray(place) + view.storage_offset()


def _storage_places(tensor: Any, index: NDArray[np.int64]) -> NDArray[np.int64]:
    where = np.unravel_index(np.maximum(index, 0), tuple(tensor.shape))
    place = sum((i * s for i, s in zip(where, tensor.stride(), strict=True)), np.int64(0))
    return np.where(index >= 0, place + tensor.storage_offset(), -1)


def _within(torch: Any, tensors: dict[str, Any], array: Any, name: str, what: str) -> Any:
    """Return the part of a tensor that an array is; None if it is of none."""
    size = array.itemsize
    address = array.__array_interface__["data"][0]
    for tensor in tensors.values():
        if tensor.device.type != "cpu" or tensor.element_size() != size or not tensor.numel():
            continue
        storage = tensor.untyped_storage()
        start = address - storage.data_ptr()
        if 0 <= start < storage.nbytes() and all(s >= 0 for s in array.strides):
            steps = [s // size for s in array.strides]
            return torch.as_strided(tensor, array.shape, steps, start // size)
    # Numbers of another type, or elsewhere, were copied when they were read.
    for key in (f"{name}.{what}", name):
        tensor = tensors.get(key)
        if tensor is not None and tuple(tensor.shape) == array.shape:
            same = tensor.double().cpu().numpy() == np.asarray(array, dtype=np.float64)
            if same.all():
                return tensor
    return None
