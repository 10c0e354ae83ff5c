"""The score of a model against what was removed from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..ablation import Ablation
from .style import looks, make_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ablation"]


def ablation(
    curves: Ablation | Sequence[Ablation], ax: Axes | None = None, *, label: str = "score"
) -> Axes:
    """Draw what removing edges or neurons costs.

    Parameters
    ----------
    curves : Ablation, or sequence of Ablation
        Of :func:`eiplane.ablate`. Curves of one ranking (several seeds, say) are drawn as their
        mean, with a band from the least to the greatest; they need the same fractions.
    ax : Axes, optional
    label : str
        What the score is.

    Returns
    -------
    Axes
        A line a ranking.

    Raises
    ------
    ValueError
        If curves of one ranking have different fractions, or there is none.
    """
    given = [curves] if isinstance(curves, Ablation) else list(curves)
    if not given:
        raise ValueError("there is no curve to draw")
    groups: dict[str, list[Ablation]] = {}
    for curve in given:
        groups.setdefault(curve.by, []).append(curve)
    ax = make_axes(ax, (6.4, 4.0))
    for look, (name, members) in zip(looks(len(groups)), groups.items(), strict=True):
        shares = members[0].fractions
        if any(not np.array_equal(m.fractions, shares) for m in members):
            raise ValueError(f"the curves by {name} have different fractions")
        scores = np.array([m.scores for m in members])
        ax.plot(100 * shares, scores.mean(axis=0), color=look.color, ls=look.line,
                marker=look.marker, ms=5, mec="white", label=name)  # fmt: skip
        if len(members) > 1:
            ax.fill_between(100 * shares, scores.min(axis=0), scores.max(axis=0), lw=0,
                            color=look.color, alpha=0.15)  # fmt: skip
    what = given[0]
    ax.set_xlabel(f"{what.structure} removed (%), {what.order} first")
    ax.set_ylabel(label)
    ax.set_xlim(0, 100)
    ax.legend(frameon=False, title="ranked by", alignment="left")
    tidy(ax)
    return ax
