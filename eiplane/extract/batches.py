"""What a network is run on: an example, a batch, or any number of batches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Batch", "batches_of"]


@dataclass(frozen=True)
class Batch:
    """What a network is called with, once.

    Parameters
    ----------
    value : object
        One argument, a tuple of them, or a mapping of names to them.
    one_of_many : bool
        Whether it comes from an iterable of batches: then it may hold more than a network takes,
        such as labels.
    """

    value: Any
    one_of_many: bool = False

    def arguments(
        self, needed: int, names: frozenset[str] | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and named arguments.

        Of a sequence out of an iterable, such as the usual pair of inputs and labels, the first
        entries are taken: as many as the network cannot do without. If the first entry is a
        sequence of as many, or a mapping, that is what the network gets. Of a mapping out of an
        iterable the entries are taken whose names the network knows.

        Parameters
        ----------
        needed : int
            Number of inputs that the network cannot do without.
        names : frozenset of str or None
            Of what it takes; None if it takes any.

        Raises
        ------
        ValueError
            If there are too few.
        """
        value = self.value
        if not self.one_of_many:
            if isinstance(value, Mapping):
                return (), dict(value)
            return (value if isinstance(value, tuple) else (value,)), {}
        if isinstance(value, list | tuple) and not _is_numbers(value):
            first = value[0] if value else None
            if isinstance(first, Mapping):
                value = first
            elif needed > 1 and isinstance(first, list | tuple) and len(first) == needed:
                return tuple(first), {}
            elif len(value) < needed:
                raise ValueError(
                    f"a batch of input_data has {len(value)} entries, the network takes {needed}"
                )
            else:
                return tuple(value[:needed]), {}
        if isinstance(value, Mapping):
            return (), {k: v for k, v in value.items() if names is None or k in names}
        return (value,), {}


def batches_of(data: Any) -> Iterator[Batch]:
    """Yield the batches that ``input_data`` stands for.

    Parameters
    ----------
    data : array, tensor, tuple, mapping, or iterable of those
        An array, a tensor, a nested list of numbers, a tuple (of several arguments) and a mapping
        (of named ones) are one batch; anything else is gone through, such as a list of batches, a
        generator, or a ``DataLoader``.

    Yields
    ------
    Batch

    Raises
    ------
    TypeError
        If it is none of those.
    """
    if isinstance(data, Mapping | tuple | np.ndarray | np.number) or hasattr(data, "detach"):
        yield Batch(data)
        return
    if isinstance(data, list) and _is_numbers(data):
        yield Batch(np.asarray(data))
        return
    torch = sys.modules.get("torch")
    kind = type(data).__name__
    if torch is not None and isinstance(data, torch.utils.data.Dataset):
        raise TypeError(
            f"input_data is a {kind}, a data set of single samples; give a DataLoader of it"
        )
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise TypeError(
            "input_data must be a batch (an array, a tensor, a tuple or a mapping of those) or an "
            f"iterable of batches such as a DataLoader, not {kind}"
        )
    for value in data:
        yield Batch(value, one_of_many=True)


def _is_numbers(value: Any) -> bool:
    """Return whether nested lists hold nothing but numbers."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float | np.number)
