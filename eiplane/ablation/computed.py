"""Weights that are computed from a module's own numbers: which number each of them comes from.

A convolution before a batch norm is one layer whose weights are the kernel's times a factor a row;
a transposed one has the kernel turned; pruning multiplies by a mask. Removing an edge there is
setting the number behind it to zero. Which number that is, is not guessed from the kind of module:
all numbers are changed a little, each by its own factor, and the module is read again.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Layer

__all__ = ["batch_norm_of", "sources_of", "writing"]

Read = Callable[[], Mapping[str, Layer]]

#: A number is changed by an eighth at most, so that deep networks stay what they are.
_SPREAD = 8.0


def sources_of(
    layers: Sequence[Layer], tensors: Mapping[str, Any], read: Read
) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """Find the numbers that layers' weights come from.

    Parameters
    ----------
    layers : sequence of Layer
        Those whose weights are no part of a tensor themselves.
    tensors : mapping of str to Tensor
        The module's own, by name; they are changed, and put back.
    read : callable
        Returns the module's layers as it is then.

    Returns
    -------
    dict of str to (str, ndarray of int64)
        By the layer's name: the tensor, and for each weight the place in it, -1 where the weight is
        zero already. Layers are missing of which a weight depends on several numbers.
    """
    chosen = {str(x.name): key for x in layers if (key := _candidate(str(x.name), tensors))}
    own = {key: tensors[key] for key in set(chosen.values())}
    if not own:
        return {}
    whole = {key: tensor.clone() for key, tensor in own.items()}
    # Copies: what is a view of the module would change with it.
    weights = {str(x.name): np.array(x.weight, dtype=np.float64) for x in layers}
    torch = sys.modules["torch"]

    def reread(change: Callable[[str, Any], Any]) -> Mapping[str, Layer]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for key, tensor in own.items():
                    with writing(torch, tensor):
                        tensor.copy_(change(key, whole[key]))
                return read()
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            return {}  # it cannot be read like that
        finally:
            try:
                _copy(torch, own, whole)
            except BaseException:  # Ctrl-C in the middle of it
                _copy(torch, own, whole)
                raise

    digits = [
        reread(lambda _, t, which=which: t * (1.0 + _digit(torch, t, which)))  # type: ignore[misc]
        for which in (0, 1)
    ]
    found = {}
    for name, key in chosen.items():
        places = _places(weights[name], [d.get(name) for d in digits], own[key].numel())
        if places is not None:
            found[name] = key, places
    return _confirmed(found, weights, reread, torch)


@contextmanager
def writing(torch: Any, tensor: Any) -> Iterator[None]:
    """Allow to write into a tensor, also into one that was made in inference mode."""
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        yield


def _copy(torch: Any, tensors: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for key, tensor in tensors.items():
        with writing(torch, tensor):
            tensor.copy_(values[key])


def _candidate(name: str, tensors: Mapping[str, Any]) -> str | None:
    """Return the largest matrix or kernel of the module that a layer is called after."""
    prefix = name.partition("#")[0] + "."
    keys = [
        k for k, t in tensors.items()
        if k.startswith(prefix) and t.ndim > 1 and t.is_floating_point() and t.numel()
    ]  # fmt: skip
    return max(keys, key=lambda k: tensors[k].numel(), default=None)


def _base(count: int) -> int:
    return math.isqrt(count) + 1


def _digit(torch: Any, tensor: Any, which: int) -> Any:
    """Return the first or second digit of every place, as a share of an eighth."""
    base = _base(tensor.numel())
    place = torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape)
    digit = place // base if which == 0 else place % base
    return digit.to(tensor.dtype) / (_SPREAD * base)


def _places(
    weight: NDArray[np.float64], changed: Sequence[Layer | None], count: int
) -> NDArray[np.int64] | None:
    """Return the place that each weight comes from, as its two digits say."""
    base, places = _base(count), np.zeros(weight.shape, dtype=np.int64)
    there = weight != 0.0
    for layer, step in zip(changed, (base, 1), strict=True):
        if layer is None or layer.weight.shape != weight.shape:
            return None
        ratio = np.divide(layer.weight, weight, np.ones(weight.shape), where=there)
        digit = (ratio - 1.0) * _SPREAD * base
        if not np.isfinite(digit).all():
            return None
        near = np.rint(digit).astype(np.int64)
        if np.abs(digit - near).max(initial=0.0) > 0.2 or (near < 0).any():
            return None
        places += step * near
    if (places[there] >= count).any():
        return None
    return np.where(there, places, -1)


def _confirmed(
    found: Mapping[str, tuple[str, NDArray[np.int64]]],
    weights: Mapping[str, NDArray[np.float64]],
    reread: Callable[[Callable[[str, Any], Any]], Mapping[str, Layer]],
    torch: Any,
) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """Return what is as it should be once every other number is zero."""

    def halved(key: str, tensor: Any) -> Any:
        mask = torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape) % 2
        return tensor * mask.to(tensor.dtype)

    without = reread(halved)
    sure = {}
    for name, (key, places) in found.items():
        expected = np.where(
            places % 2 == 1, weights[name], 0.0
        )  # a place of -1 is zero in any case
        layer = without.get(name)
        scale = 1e-5 * np.abs(expected).max(initial=0.0)
        if layer is None or layer.weight.shape != expected.shape:
            continue
        if np.abs(layer.weight - expected).max(initial=0.0) <= scale:
            sure[name] = key, places
    return sure


def batch_norm_of(layer: Layer, model: Any) -> list[Any]:
    """Return the tensors that have to be zero in a row for the layer's bias to be.

    Parameters
    ----------
    layer : Layer
        Whose bias is that of a batch norm behind it.
    model : torch.nn.Module

    Returns
    -------
    list of Tensor
        The shift and the mean of the batch norm, and the layer's own bias if it has one; empty if
        there is no such batch norm.
    """
    wanted = np.asarray(layer.bias, dtype=np.float64)
    modules = dict(model.named_modules())
    name = str(layer.name).partition("#")[0]
    own = getattr(modules.get(name), "bias", None)
    # Of several with the same numbers, as in copied blocks, the first behind the layer.
    here = list(modules).index(name) if name in modules else 0
    for norm in [*modules.values()][here:] + [*modules.values()][:here]:
        mean, var, shift = (getattr(norm, k, None) for k in ("running_mean", "running_var", "bias"))
        if mean is None or var is None or shift is None or tuple(mean.shape) != wanted.shape:
            continue
        inner = [] if own is None else [own.detach()]
        before = sum((t.double().cpu().numpy() for t in inner), start=np.zeros_like(wanted))
        scale = norm.weight.detach().double().cpu().numpy()
        scale = scale / np.sqrt(var.double().cpu().numpy() + norm.eps)
        bias = shift.detach().double().cpu().numpy()
        bias = bias + (before - mean.double().cpu().numpy()) * scale
        if np.allclose(bias, wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max(initial=0.0)):
            return [shift.detach(), mean, *inner]
    return []
