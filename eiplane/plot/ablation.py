"""The score of a model against what was removed from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..ablation import Ablation
from .names import shown_name
from .style import looks, make_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ablation"]

#: How the legend says wherein curves differ.
_WORDS = {"structure": "{}", "order": "{} first"}


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
    # What all have in common stands below the axis, what differs in the legend.
    differ = [k for k in ("structure", "order") if len({getattr(c, k) for c in given}) > 1]
    groups: dict[str, list[Ablation]] = {}
    for curve in given:
        name = ", ".join([curve.by, *(_WORDS[k].format(getattr(curve, k)) for k in differ)])
        groups.setdefault(name, []).append(curve)
    ax = make_axes(ax, (6.4, 4.0))
    for look, (name, members) in zip(looks(len(groups)), groups.items(), strict=True):
        shares = members[0].fractions
        if any(not np.array_equal(m.fractions, shares) for m in members):
            raise ValueError(f"the curves by {name} have different fractions")
        scores = np.array([m.scores for m in members])
        ax.plot(100 * shares, scores.mean(axis=0), color=look.color, ls=look.line,
                marker=look.marker, ms=5, mec="white", label=shown_name(name))  # fmt: skip
        if len(members) > 1:
            ax.fill_between(100 * shares, scores.min(axis=0), scores.max(axis=0), lw=0,
                            color=look.color, alpha=0.15)  # fmt: skip
    what = given[0]
    structure = "edges or neurons" if "structure" in differ else what.structure
    order = "" if "order" in differ else f", {what.order} first"
    ax.set_xlabel(f"{structure} removed (%){order}")
    ax.set_ylabel(label)
    ax.set_xlim(0, 100)
    ax.legend(frameon=False, title="ranked by", alignment="left")
    tidy(ax)
    return ax
