"""Whether what a run showed of a module's layers holds in another run as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..network import Layer, Network
from ..results import Skipped
from .aten import FROM_DATA
from .flow.finish import without_use

__all__ = ["adds", "copied", "unsteady", "varied"]


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


def copied(value: Any, torch: Any) -> Any:
    """Return a copy of example inputs, into which a module may write.

    Parameters
    ----------
    value : object
        Tensors, and sequences and mappings of some; anything else comes back as it is.
    torch : module

    Returns
    -------
    object
    """
    return _changed(value, torch, 1.0, 0.0)


def _changed(value: Any, torch: Any, scale: float, shift: float) -> Any:
    if isinstance(value, torch.Tensor):
        if scale == 1.0:
            return value.clone()
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


def unsteady(
    first: Network, others: Sequence[tuple[Network | None, tuple[Skipped, ...]]]
) -> dict[str, str]:
    """Return the layers of a run that are others in another run, and what to say of them.

    Parameters
    ----------
    first : Network
    others : sequence of (Network or None, tuple of Skipped)
        Of the other runs. What did not run there is not judged.

    Returns
    -------
    dict of str to str
    """
    found = {}
    for second, skipped in others:
        known = {str(layer.name): layer.load() for layer in second or ()}
        listed = {s.name: s.reason for s in skipped}
        for layer in first:
            name = str(layer.name)
            if name in known:
                other = not _same(layer.load(), known[name])
            else:
                other = name in listed and not without_use(listed[name])
            if other:
                found[name] = FROM_DATA
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
    return more and not unsteady(first, [(second, ())])


def _same(one: Layer, two: Layer) -> bool:
    if one.shape != two.shape or one.groups != two.groups or one.edge_shape != two.edge_shape:
        return False
    # Functions may agree on most numbers, so along a few lines there are many, small and large.
    rng, count = np.random.default_rng(0), 96 if one.n_in * one.n_out < 1 << 20 else 16
    at = rng.uniform(-1.0, 1.0, size=(4, one.n_in))[rng.integers(0, 4, count)]
    at *= rng.permutation(np.geomspace(0.01, 30.0, count))[:, None]
    with np.errstate(all="ignore"):
        return bool(np.allclose(one(at), two(at), rtol=1e-6, atol=1e-9, equal_nan=True))
