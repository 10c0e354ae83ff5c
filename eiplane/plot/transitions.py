"""Transition matrices of the micro and the macro scale."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..emergence import Transitions
from ..files import require
from .style import given_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["transitions"]

#: States up to which numbers, and names, are written.
_NUMBERS, _NAMES = 10, 24

#: That all names of columns have together where they still stand side by side.
_LETTERS = 36


def transitions(result: Transitions, ax: Sequence[Axes] | None = None) -> Any:
    """Draw a transition matrix, and that of its macro scale beside it.

    The micro states are put in the order of their groups, which lines part. Above each matrix stand
    its EI and its effectiveness.

    Parameters
    ----------
    result : Transitions
        Of :func:`eiplane.tpm`.
    ax : sequence of Axes, optional
        One, or two where there is a macro scale, of one figure; a new figure's if left out.

    Returns
    -------
    ndarray of Axes, shape (1,) or (2,)
        A row the state that is set, a column the one that follows.

    Raises
    ------
    ValueError
        If there are fewer axes than matrices.
    """
    if not isinstance(result, Transitions):
        raise TypeError(f"transitions draws what eiplane.tpm returns, not {type(result).__name__}")
    macro = result.macro
    count = len(result.scales)
    if ax is None:
        pyplot = require("matplotlib.pyplot", "plot")
        size = (0.6 + 4.2 * count, 4.2)
        axes = pyplot.subplots(1, count, squeeze=False, layout="constrained", figsize=size)[1][0]
    else:
        axes = given_axes(ax, count, "transitions")
    square = result.matrix.shape[0] == result.matrix.shape[1]
    groups = macro.groups if macro else ()
    order = list(itertools.chain(*groups)) or list(range(result.n_states))
    matrix = result.matrix[np.ix_(order, order)] if square else result.matrix
    names = [result.names[i] for i in order]
    _draw(axes[0], matrix, names, names if square else None)
    cuts = np.cumsum([len(group) for group in groups])[:-1] - 0.5
    for cut in cuts if len(groups) < result.n_states else ():
        axes[0].axhline(cut, color="white", linewidth=1.2)
        axes[0].axvline(cut, color="white", linewidth=1.2)
    if macro is not None:
        called = ["{" + ",".join(result.names[i] for i in group) + "}" for group in groups]
        called = [name if len(name) <= 14 else name[:11] + "…}" for name in called]
        _draw(axes[1], macro.matrix, called, called)
    for one, scale, name in zip(axes, result.scales, ("micro", "macro"), strict=False):
        title = f"{name}: EI {scale.ei:.3g} bits, effectiveness {scale.effectiveness:.3g}"
        one.set_title(title, fontsize=10)
    bar = axes[-1].figure.colorbar(axes[-1].images[0], ax=list(axes), shrink=0.85)
    bar.set_label("probability", fontsize=9)
    bar.outline.set_visible(False)
    return axes


def _draw(ax: Axes, matrix: Any, rows: list[str], columns: list[str] | None) -> None:
    ax.imshow(matrix, cmap="viridis", vmin=0.0, vmax=1.0, aspect="equal", interpolation="nearest")
    if max(matrix.shape) <= _NUMBERS:
        for (i, j), p in np.ndenumerate(matrix):
            ax.text(j, i, f"{p:.2g}", ha="center", va="center", fontsize=7.5,
                    color="black" if p > 0.6 else "white")  # fmt: skip
    for names, ticks in ((rows, ax.set_yticks), (columns, ax.set_xticks)):
        if names is not None and len(names) <= _NAMES:
            ticks(range(len(names)), names, fontsize=8)
    if columns is not None and sum(map(len, columns)) > _LETTERS:
        ax.tick_params("x", rotation=90)
    ax.set_xlabel("follows")
    ax.set_ylabel("set")
