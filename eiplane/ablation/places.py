"""Where the weights of a network's layers lie in what the user gave: to be set to zero."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Layer, Network

__all__ = ["Edit", "Held", "Mask", "held_arrays"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Edit = Callable[[Mask], None]  # sets to zero what is chosen

#: What names a file, and is no arrays.
_FILES = (str, os.PathLike)


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
    places : mapping of str to (key, ndarray of int64)
        Of each layer some memory, and where in it each of its weights lies; -1 for none.
    whole : callable
        Puts everything back.
    """

    def __init__(
        self,
        model: Any,
        edits: Mapping[str, Edit],
        biases: Mapping[str, Edit],
        places: Mapping[str, tuple[Any, NDArray[np.int64]]],
        whole: Callable[[], None],
    ) -> None:
        self.model = model
        self.edits = edits
        self.biases = biases
        self._places = places
        self._whole = whole

    def together(self, ranks: Mapping[str, Array]) -> dict[str, Array]:
        """Give weights that several layers share one rank, the sum: they go at the same time.

        Parameters
        ----------
        ranks : mapping of str to ndarray
            Importance of every edge, by layer.

        Returns
        -------
        dict of str to ndarray
        """
        one = dict(ranks)
        for names in self._sharing([name for name in ranks if name in self._places]):
            flat = np.concatenate([self._places[n][1].ravel() for n in names])
            _, where = np.unique(flat, return_inverse=True)
            summed = np.bincount(where, np.concatenate([ranks[n].ravel() for n in names]))[where]
            ends = np.cumsum([ranks[n].size for n in names])
            for name, part in zip(names, np.split(summed, ends[:-1]), strict=True):
                # What comes from no number of the model is its own.
                own = self._places[name][1] < 0
                one[name] = np.where(own, ranks[name], part.reshape(ranks[name].shape))
        return one

    def _sharing(self, names: Sequence[str]) -> list[list[str]]:
        """Return groups of layers whose weights lie within each other's."""
        spans = sorted((self._places[n][0], int(self._places[n][1].min()), n) for n in names)
        groups: list[list[str]] = []
        last, end = None, -1
        for key, start, name in spans:
            stop = int(self._places[name][1].max())
            if groups and key == last and start <= end:
                groups[-1].append(name)
                end = max(end, stop)
            else:
                groups.append([name])
                last, end = key, stop
        return [group for group in groups if len(group) > 1]

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


def held_arrays(model: Any, layers: Sequence[Layer]) -> Held:
    """Find the layers' weights in a copy of arrays.

    Parameters
    ----------
    model : array, sequence or mapping of those
    layers : sequence of Layer

    Returns
    -------
    Held
        Layers whose weights are not the arrays' own numbers have no entry in ``edits``.

    Raises
    ------
    TypeError
        If it is nothing that could be given to ``evaluate`` as changed arrays.
    """
    if hasattr(model, "get_weights") or hasattr(model, "coefs_") or isinstance(model, _FILES):
        raise TypeError(
            f"a {type(model).__name__} cannot be ablated; give a torch Module, or its weights as "
            "arrays and an evaluate= that takes those"
        )
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

    return Held(copy, edits, biases, {}, whole)  # what was shared is not so in the copy


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
