"""What surrounds a recurrent network that is perturbed: its inputs, and the range of its state."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import real_array
from ..run import Purpose, Sampling, Settings, checked_range
from .cells import Cell
from .setup import Around

__all__ = ["surroundings"]

Array = NDArray[np.float64]

#: Steps from rest, and runs, by which the range of an unbounded state is seen.
_SETTLE, _RUNS = 64, 512


def surroundings(
    cell: Cell, inputs: Any, settings: Settings, state_range: Any, sampling: Sampling
) -> tuple[Around, str]:
    """Return what surrounds the experiment, and what the state's range follows from."""
    x_span = np.tile(settings.input_range, (cell.n_inputs, 1)).astype(np.float64)
    held_x = np.full(cell.n_inputs, settings.baseline)
    sequences = lengths = states = None
    if not isinstance(inputs, str):
        sequences, lengths = _sequences(inputs, cell.n_inputs)
        there = np.arange(sequences.shape[1]) < lengths[:, None]
        held_x = sequences[there].mean(axis=0)
        states = _run_along(cell, sequences)
        seen = states[:, 1:][there]
    elif inputs in ("noise", "fixed"):
        seen = None
    else:
        raise ValueError(f"inputs is 'noise', 'fixed' or sequences, got {inputs!r}")
    span, source = _state_span(cell, state_range, x_span, seen, sampling)
    kind = inputs if isinstance(inputs, str) else "data"
    held = np.full(cell.n_state, settings.baseline)
    return Around(kind, held_x, held, x_span, span, sequences, lengths, states), source


def _sequences(given: Any, n_inputs: int) -> tuple[Array, NDArray[np.intp]]:
    """Return sequences, the shorter ones filled up with zeros, and their lengths.

    Raises
    ------
    TypeError, ValueError
        If they are none.
    """
    if hasattr(given, "batch_sizes") and hasattr(given, "sorted_indices"):  # of torch, packed
        padded, lengths = sys.modules["torch"].nn.utils.rnn.pad_packed_sequence(given, True)
        return _shaped(padded, n_inputs), np.asarray(lengths, np.intp)
    several = isinstance(given, (list, tuple)) and len(given) > 0
    sizes = [np.shape(one) if hasattr(one, "shape") else None for one in given] if several else []
    if not all(size is not None and len(size) == 2 for size in sizes) or len(set(sizes)) < 2:
        found = _shaped(given, n_inputs)
        return found, np.full(len(found), found.shape[1], np.intp)
    parts = [_shaped(one, n_inputs)[0] for one in given]
    lengths = np.array([len(part) for part in parts], np.intp)
    found = np.zeros((len(parts), int(lengths.max()), n_inputs))
    for i, part in enumerate(parts):
        found[i, : len(part)] = part
    return found, lengths


def _shaped(given: Any, n_inputs: int) -> Array:
    sequences = real_array(given, "inputs").astype(np.float64)
    sequences = sequences[None] if sequences.ndim == 2 else sequences
    if sequences.ndim != 3 or sequences.shape[2] != n_inputs or not sequences.size:
        raise ValueError(
            f"inputs must have shape (sequences, steps, {n_inputs}), got {sequences.shape}"
        )
    return sequences


def _run_along(cell: Cell, sequences: Array) -> Array:
    """Return the states before each step of sequences, and after the last, from rest."""
    state = np.zeros((cell.n_state, len(sequences)))
    states = [state.T]
    for step in range(sequences.shape[1]):
        state = cell.step(np.ascontiguousarray(sequences[:, step].T), state)
        states.append(state.T)
    return np.stack(states, axis=1)


def _state_span(
    cell: Cell, given: Any, x_span: Array, seen: Array | None, sampling: Sampling
) -> tuple[Array, str]:
    """Return the range of every neuron of the state, and its source."""
    if not isinstance(given, str):
        pairs = np.asarray(real_array(given, "state_range"), np.float64)
        if pairs.shape == (2,):
            pairs = np.tile(pairs, (cell.n_state, 1))
        if pairs.shape != (cell.n_state, 2):
            raise ValueError(
                f"state_range must be a pair, or one for each of the {cell.n_state} neurons of "
                f"the state; got shape {pairs.shape}"
            )
        for i, pair in enumerate(pairs.tolist()):
            checked_range(pair, f"state_range of neuron {i}")
        return pairs, "given"
    if given != "auto":
        raise ValueError(f"state_range is 'auto', a pair or one a neuron, got {given!r}")
    span = cell.limits.copy()
    unknown = ~np.isfinite(span).all(axis=1)
    if not unknown.any():
        return span, "activation"
    if seen is None:
        seed = np.random.SeedSequence([sampling.key(Purpose.PAIRS), 4])
        draws = np.random.Generator(np.random.Philox(seed)).random((_RUNS, _SETTLE, len(x_span)))
        states = _run_along(cell, x_span[:, 0] + draws * (x_span[:, 1] - x_span[:, 0]))
        seen = states[:, 1:].reshape(-1, cell.n_state)
    seen = seen[:, unknown]
    if not np.isfinite(seen).all():
        raise ValueError("the state leaves the finite numbers within 64 steps; give a state_range")
    low, high = np.quantile(seen, [0.001, 0.999], axis=0)
    if not (high > low).all():
        raise ValueError("a neuron of the state does not move by itself; give a state_range")
    span[unknown] = np.stack([low, high], axis=1)
    return span, "data"
