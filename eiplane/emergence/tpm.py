"""``eiplane.tpm``: from a transition matrix to its information and its macro scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import real_array
from .partitions import checked_groups, groups_of, labels_of, macro_matrix
from .scale import Scale
from .search import SEARCHES, search
from .transitions import MacroScale, Transitions

__all__ = ["tpm"]

Array = NDArray[np.float64]

#: States from which on "auto" looks for no macro scale, and of an exhaustive search at most.
_SEARCHED, _EXHAUSTED = 1024, 10


def tpm(
    matrix: Any,
    *,
    macro: str | Sequence[Sequence[int]] | None = "auto",
    objective: str = "ei",
    normalize: bool = False,
    names: Sequence[Any] | None = None,
) -> Transitions:
    """Measure a transition probability matrix, and find the macro scale that says most.

    Every state is set equally often, ``do(state = Hmax)``. EI is the information between the state
    that is set and the one that follows; determinism, degeneracy and effectiveness are those of
    E. P. Hoel, *When the map is better than the territory*, Entropy 19(5) 188 (2017), section 2.
    A macro state is a group of states; to set it is to set each of its states equally often. Where
    a macro scale has more EI than the micro scale, that is causal emergence (Hoel, Albantakis and
    Tononi, PNAS 110(49) 19790, 2013).

    Parameters
    ----------
    matrix : array_like of shape (n, m)
        Row i is the distribution of what follows state i. Mostly square. Columns need not be the
        same states, but then there is no macro scale.
    macro : {"auto", "exhaustive", "greedy", "spectral"}, sequence of groups, or None
        How to look for the macro scale. ``"exhaustive"`` goes through all partitions, of 10 states
        at most; ``"greedy"`` merges the best pair until one group is left; ``"spectral"`` clusters
        the states' singular vectors at every number of groups. Both then move single states and
        join groups. They find a good partition, mostly the best, and do not prove it to be the
        best. ``"auto"`` is
        exhaustive up to 8 states, the better of the two others up to 200, spectral up to 1,024.
        Groups of states are measured as they are. None looks for none.
    objective : {"ei", "effectiveness"}
        What is to be greatest at the macro scale.
    normalize : bool
        Divide each row by its sum, for the adjacency matrix of a graph: a walker's next node (Klein
        and Hoel, Complexity 2020, 8932526). Leave out rows of zeros, nodes without a way out, as
        ``A[A.sum(axis=1) > 0]``.
    names : sequence of str, optional
        Of the states; their places when left out.

    Returns
    -------
    Transitions
        ``ei``, ``effectiveness``, ``determinism``, ``degeneracy``, ``specificity``; ``ei_states``,
        ``determinism_states``, ``effect`` by state; ``macro`` with the same of the macro scale,
        and ``macro.groups``, ``macro.matrix``, ``macro.emergence``.

    Raises
    ------
    TypeError, ValueError
        For bad input: entries below 0 or not finite, rows that do not sum to 1 (which).

    Examples
    --------
    Three states that follow each other at random, and one alone: in groups it is a perfect copy.

    >>> import numpy as np, eiplane
    >>> mixed = np.zeros((4, 4))
    >>> mixed[:3, :3] = 1 / 3
    >>> mixed[3, 3] = 1
    >>> t = eiplane.tpm(mixed)
    >>> round(t.ei, 3), t.macro.ei, t.macro.groups
    (0.811, 1.0, ((0, 1, 2), (3,)))
    """
    checked = _checked(matrix, normalize)
    n = len(checked)
    if objective not in ("ei", "effectiveness"):
        raise ValueError(f"objective is 'ei' or 'effectiveness', got {objective!r}")
    called = tuple(map(str, range(n) if names is None else names))
    if len(called) != n:
        raise ValueError(f"{len(called)} names were given for {n} states")
    notes: tuple[str, ...] = ()
    found = None
    if checked.shape[0] != checked.shape[1]:
        if macro is not None and macro != "auto":
            raise ValueError(
                f"a macro scale needs a square matrix, got shape {checked.shape}; give macro=None"
            )
    elif macro == "auto" and n > _SEARCHED:
        notes = (f"no macro scale was looked for among {n} states (at most {_SEARCHED})",)
    elif macro is not None:
        found = _macro(checked, macro, objective)
    return Transitions(checked, called, found, objective, notes)


def _macro(matrix: Array, macro: Any, objective: str) -> MacroScale:
    n = len(matrix)
    if not isinstance(macro, str):
        groups, how = checked_groups(macro, n), "given"
    elif macro != "auto" and macro not in SEARCHES:
        known = ", ".join(map(repr, ["auto", *SEARCHES]))
        raise ValueError(f"macro is {known}, groups of states, or None; got {macro!r}")
    elif macro == "exhaustive" and n > _EXHAUSTED:
        raise ValueError(
            f"an exhaustive search goes up to {_EXHAUSTED} states, and there are {n}; "
            "macro='greedy' or 'spectral' would do"
        )
    else:
        best = search(matrix, macro, objective)
        groups, how = groups_of(best.labels), best.search
    scale = Scale(matrix if len(groups) == n else macro_matrix(matrix, labels_of(groups, n)))
    return MacroScale(scale.matrix, groups, scale.ei - Scale(matrix).ei, how)


def _checked(matrix: Any, normalize: bool) -> Array:
    """Return a transition matrix in float64, its rows summing to 1."""
    given = real_array(matrix, "the transition matrix")
    if given.ndim != 2 or not given.size:
        raise ValueError(f"a transition matrix has rows and columns, got shape {given.shape}")
    values = np.array(given, dtype=np.float64)
    if (values < 0).any():
        i, j = map(int, np.argwhere(values < 0)[0])
        raise ValueError(f"entry [{i}, {j}] of the transition matrix is negative: {values[i, j]}")
    sums = values.sum(axis=1)
    if normalize:
        if not sums.all():
            raise ValueError(
                f"row {int(np.argmin(sums))} sums to 0, so nothing follows that state; leave it out"
            )
        if not np.isfinite(sums).all():
            raise ValueError(f"row {int(np.argmax(sums))} sums to more than float64 holds")
        return np.asarray(values / sums[:, None])
    eps = np.finfo(given.dtype).eps if given.dtype.kind == "f" else 0.0
    off = np.abs(sums - 1.0)
    if off.max() > max(1e-9, 4.0 * float(eps) * values.shape[1]):
        i = int(np.argmax(off))
        hint = "normalize=True divides each row by its sum"
        if np.abs(values.sum(axis=0) - 1.0).max() <= 1e-9:
            hint = "its columns do: give the transpose"
        raise ValueError(
            f"row {i} of the transition matrix sums to {sums[i]:.6g}, not to 1; {hint}"
        )
    return np.asarray(np.where(off[:, None] > 0, values / sums[:, None], values))
