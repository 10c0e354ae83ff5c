"""Where the weights of a network's layers lie in what the user gave: to be set to zero."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Layer, Network

__all__ = ["Held", "held"]

Mask = NDArray[np.bool_]
Edit = Callable[[Mask], None]  # sets to zero what is chosen


class Held:
    """A model whose weights can be set to zero, and are as they were in the end.

    Parameters
    ----------
    model : object
        What ``evaluate`` is given: the module itself, or a copy of arrays.
    edits : mapping of str to callable
        Set a layer's chosen weights to zero; by the layer's name.
    biases : mapping of str to callable
        The same of biases, for the layers that have one which can be found.
    whole : callable
        Puts everything back.
    """

    def __init__(
        self,
        model: Any,
        edits: Mapping[str, Edit],
        biases: Mapping[str, Edit],
        whole: Callable[[], None],
    ) -> None:
        self.model = model
        self.edits = edits
        self.biases = biases
        self._whole = whole

    @contextmanager
    def without(self, masks: Mapping[str, Mask], rows: Mapping[str, Mask]) -> Iterator[Any]:
        """Give the model without some weights and biases, for the length of the block."""
        try:
            for name, mask in masks.items():
                self.edits[name](mask)
            for name, mask in rows.items():
                if name in self.biases:
                    self.biases[name](mask)
            yield self.model
        finally:
            try:
                self._whole()
            except BaseException:  # Ctrl-C in the middle of it
                self._whole()
                raise


def held(model: Any, layers: Iterable[Layer]) -> Held:
    """Find the layers' weights in a model.

    Parameters
    ----------
    model : torch.nn.Module, array, sequence or mapping of those
        Arrays are copied; a module is changed in place, and put back.
    layers : iterable of Layer

    Returns
    -------
    Held
        Layers whose weights are not the model's own numbers (merged, dequantised, reparametrised
        ones) have no entry in ``edits``.
    """
    if hasattr(model, "named_parameters") and hasattr(model, "named_modules"):
        return _module(model, list(layers))
    if hasattr(model, "get_weights") or hasattr(model, "coefs_") or isinstance(model, str):
        raise TypeError(
            f"a {type(model).__name__} cannot be ablated; give a torch Module, or its weights as "
            "arrays and an evaluate= that takes those"
        )
    return _arrays(model, list(layers))


# -- modules


def _module(model: Any, layers: list[Layer]) -> Held:
    torch = sys.modules["torch"]
    tensors = {n: t.detach() for n, t in (*model.named_parameters(), *model.named_buffers())}
    edits: dict[str, Edit] = {}
    biases: dict[str, Edit] = {}
    touched: dict[str, Any] = {}
    for layer in layers:
        for what, array, found in (
            ("weight", layer.weight, edits),
            ("bias", layer.bias, biases),
        ):
            place = None if array is None else _within(torch, tensors, array, str(layer.name), what)
            if place is not None:
                name, view = place
                touched[name] = tensors[name]
                found[str(layer.name)] = _torch_edit(torch, view)
    copies = {name: t.clone() for name, t in touched.items()}

    def whole() -> None:
        with torch.no_grad():
            for name, copy in copies.items():
                touched[name].copy_(copy)

    return Held(model, edits, biases, whole)


def _torch_edit(torch: Any, view: Any) -> Edit:
    def edit(mask: Mask) -> None:
        with torch.no_grad():
            view.masked_fill_(torch.as_tensor(np.ascontiguousarray(mask)).to(view.device), 0)

    return edit


def _within(torch: Any, tensors: dict[str, Any], array: Any, name: str, what: str) -> Any:
    """Return the name of the tensor that an array is part of, and that part; None if it is none."""
    size = array.itemsize
    address = array.__array_interface__["data"][0]
    for key, tensor in tensors.items():
        if tensor.device.type != "cpu" or tensor.element_size() != size or not tensor.numel():
            continue
        storage = tensor.untyped_storage()
        start = address - storage.data_ptr()
        if 0 <= start < storage.nbytes() and all(s >= 0 for s in array.strides):
            steps = [s // size for s in array.strides]
            return key, torch.as_strided(tensor, array.shape, steps, start // size)
    # Numbers of another type, or elsewhere, were copied when they were read.
    for key in (f"{name}.{what}", name):
        tensor = tensors.get(key)
        if tensor is not None and tuple(tensor.shape) == array.shape:
            same = tensor.double().cpu().numpy() == np.asarray(array, dtype=np.float64)
            if same.all():
                return key, tensor
    return None


# -- arrays


def _arrays(model: Any, layers: list[Layer]) -> Held:
    leaves: list[tuple[NDArray[Any], NDArray[Any]]] = []
    copy = _copied(model, leaves)
    edits: dict[str, Edit] = {}
    biases: dict[str, Edit] = {}
    for layer in layers:
        for array, found in ((layer.weight, edits), (layer.bias, biases)):
            view = None if array is None else _inside(leaves, array)
            if view is not None:
                found[str(layer.name)] = _array_edit(view)
    copies = [mine.copy() for _, mine in leaves]

    def whole() -> None:
        for (_, mine), old in zip(leaves, copies, strict=True):
            mine[...] = old

    return Held(copy, edits, biases, whole)


def _array_edit(view: NDArray[Any]) -> Edit:
    def edit(mask: Mask) -> None:
        view[mask] = 0

    return edit


def _copied(model: Any, leaves: list[tuple[NDArray[Any], NDArray[Any]]]) -> Any:
    """Return a copy of what holds arrays, and note each array and its copy."""

    def array(value: Any) -> NDArray[Any]:
        mine = np.array(value, order="K", copy=True)
        leaves.append((np.asarray(value), mine))
        return mine

    if isinstance(model, Layer):
        bias = None if model.bias is None else array(model.bias)
        return replace(model, weight=array(model.weight), bias=bias)
    if isinstance(model, Network):
        return model.changed(layers=[_copied(x.load(), leaves) for x in model.layers])
    if isinstance(model, Mapping):
        return {k: _copied(v, leaves) for k, v in model.items()}
    if hasattr(model, "detach") and hasattr(model, "numpy"):
        mine = model.detach().cpu().clone()
        leaves.append((model.detach().cpu().numpy(), mine.numpy()))
        return mine
    if isinstance(model, np.ndarray):
        return array(model)
    if isinstance(model, list | tuple):
        if model and all(np.isscalar(x) for row in model for x in _row(row)):
            raise TypeError("give the weights as NumPy arrays, not as lists of numbers")
        return type(model)([_copied(v, leaves) for v in model])
    return model


def _row(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else [None]


def _inside(
    leaves: list[tuple[NDArray[Any], NDArray[Any]]], array: NDArray[Any]
) -> NDArray[Any] | None:
    """Return the part of a copy that an array is of the original."""
    address = array.__array_interface__["data"][0]
    for original, mine in leaves:
        start = address - original.__array_interface__["data"][0]
        fits = original.dtype == array.dtype and original.strides == mine.strides
        if fits and 0 <= start < original.nbytes:
            if mine.flags.c_contiguous or mine.flags.f_contiguous:
                base = mine if mine.flags.c_contiguous else mine.T
                return np.ndarray(array.shape, array.dtype, base, start, array.strides)
            if start == 0 and array.shape == mine.shape and array.strides == mine.strides:
                return mine
    return None
