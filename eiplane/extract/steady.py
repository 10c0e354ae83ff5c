"""Whether what a run showed of a module's layers holds on another input as well.

A number that Python takes from the data (``h * z.max().item()``) comes back as a constant that
nothing tells from one of the module's own. On another input it is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..network import Layer, Network

__all__ = ["adds", "alike", "unsteady", "varied"]

_REASON = "a number that Python takes from the data goes into it, so it is another on every input"


def varied(value: Any, torch: Any) -> tuple[Any, ...]:
    """Return example inputs of the same shapes with other numbers in them.

    Parameters
    ----------
    value : object
        Tensors, and sequences and mappings of some; anything else comes back as it is.
    torch : module

    Returns
    -------
    tuple of object
        Floating-point numbers are mirrored at 1/2, so that those between 0 and 1 stay there, and
        in the other they are mirrored and stretched, since small changes may not show behind a
        step; whole numbers, which may be indices, stand in another order.
    """
    return _changed(value, torch, -1.0, 1.0), _changed(value, torch, -5.0, 2.0)


def _changed(value: Any, torch: Any, scale: float, shift: float) -> Any:
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.is_complex():
            return scale * value + shift
        if not value.ndim:
            return value
        return value.flip(-1) if scale == -1.0 else value.roll(1, -1)
    if isinstance(value, Mapping):
        return {key: _changed(part, torch, scale, shift) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_changed(part, torch, scale, shift) for part in value)
    return value


def alike(runs: Sequence[Sequence[bytes]]) -> frozenset[int]:
    """Return which tensors that came from Python are the same on all inputs: constants.

    Parameters
    ----------
    runs : sequence of sequence of bytes
        Digests of the tensors of each run, in order of appearance.

    Returns
    -------
    frozenset of int
        Empty where there is one run alone, or where they did not take as many.
    """
    if len(runs) < 2 or len({len(found) for found in runs}) > 1:
        return frozenset()
    return frozenset(k for k, each in enumerate(zip(*runs, strict=True)) if len(set(each)) == 1)


def unsteady(first: Network, others: Sequence[Network | None]) -> dict[str, str]:
    """Return the layers of a run that are others on another input, and what to say of them.

    Parameters
    ----------
    first : Network
    others : sequence of Network or None
        Of the other inputs. What ran on the first one alone is not judged.

    Returns
    -------
    dict of str to str
    """
    found = {}
    for second in others:
        known = {str(layer.name): layer.load() for layer in second or ()}
        for layer in first:
            name = str(layer.name)
            if name in known and not _same(layer.load(), known[name]):
                found[name] = _REASON
    return found


def adds(first: Network | None, second: Network | None) -> bool:
    """Return whether a network has another's layers, the same ones, and some more.

    Parameters
    ----------
    first, second : Network or None

    Returns
    -------
    bool
    """
    if second is None or first is None:
        return second is not None
    more = set(second.names) > set(first.names)
    return more and not unsteady(first, [second])


def _same(one: Layer, two: Layer) -> bool:
    if one.shape != two.shape or one.groups != two.groups or one.edge_shape != two.edge_shape:
        return False
    # Small, ordinary and large pre-activations: functions may agree on any one of them.
    at = np.random.default_rng(0).uniform(-1.0, 1.0, size=(8, one.n_in))
    at *= np.geomspace(0.1, 30.0, 8)[:, None]
    with np.errstate(all="ignore"):
        return bool(np.allclose(one(at), two(at), rtol=1e-6, atol=1e-9, equal_nan=True))
