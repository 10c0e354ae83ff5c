"""Whether what a run showed of a module's layers holds on another input as well.

A number that Python takes from the data (``h * z.max().item()``) comes back as a constant that
nothing tells from one of the module's own. On another input it is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..network import Layer, Network

__all__ = ["alike", "unsteady", "varied"]

_REASON = "a number that Python takes from the data goes into it, so it is another on every input"


def varied(value: Any, torch: Any) -> Any:
    """Return an example input of the same shapes with other numbers in it.

    Parameters
    ----------
    value : object
        Tensors, and sequences and mappings of some; anything else comes back as it is.
    torch : module

    Returns
    -------
    object
        Floating-point numbers are mirrored at 1/2, so that those between 0 and 1 stay there; whole
        ones, which may be indices, stand in another order.
    """
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.is_complex():
            return 1.0 - value
        return value.flip(-1) if value.ndim else value
    if isinstance(value, Mapping):
        return {key: varied(part, torch) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(varied(part, torch) for part in value)
    return value


def alike(one: Sequence[bytes], two: Sequence[bytes]) -> frozenset[int]:
    """Return which tensors that came from Python are the same on two inputs: constants.

    Parameters
    ----------
    one, two : sequence of bytes
        Digests of the tensors, in order of appearance.

    Returns
    -------
    frozenset of int
        Empty where the two runs did not take as many.
    """
    if len(one) != len(two):
        return frozenset()
    return frozenset(k for k, (a, b) in enumerate(zip(one, two, strict=True)) if a == b)


def unsteady(first: Network, second: Network | None) -> dict[str, str]:
    """Return the layers of a run that are others on another input, and what to say of them.

    Parameters
    ----------
    first : Network
    second : Network or None
        Of the other input. What ran on the first one alone is not judged.

    Returns
    -------
    dict of str to str
    """
    others = {str(layer.name): layer.load() for layer in second or ()}
    found = {}
    for layer in first:
        name = str(layer.name)
        if name in others and not _same(layer.load(), others[name]):
            found[name] = _REASON
    return found


def _same(one: Layer, two: Layer) -> bool:
    if one.shape != two.shape or one.groups != two.groups or one.edge_shape != two.edge_shape:
        return False
    # Small, ordinary and large pre-activations: functions may agree on any one of them.
    at = np.random.default_rng(0).uniform(-1.0, 1.0, size=(8, one.n_in))
    at *= np.geomspace(0.1, 30.0, 8)[:, None]
    with np.errstate(all="ignore"):
        return bool(np.allclose(one(at), two(at), rtol=1e-6, atol=1e-9, equal_nan=True))
