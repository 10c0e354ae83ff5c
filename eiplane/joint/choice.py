"""Which estimator measures a piece: the one table, and the one rule.

A new estimator is a file beside this one (see :mod:`.estimator`) and an entry here, in its place:
the first in a row that applies to a piece gets it, and one that finds a piece hopeless hands it to
the next that applies. Pieces that are exact never come here: see :mod:`.plan`.
"""

from __future__ import annotations

from .conditional import Conditional
from .direct import Direct, Plugin
from .estimator import Estimator
from .task import Task
from .uninformed import Uninformed
from .wide import Wide

__all__ = ["ESTIMATORS", "choose"]

#: What may measure a piece, by the user's ``estimator=``.
ESTIMATORS: dict[str, tuple[type[Estimator], ...]] = {
    "auto": (Uninformed, Direct, Conditional, Wide),
    "conditional": (Uninformed, Direct, Conditional),
    "wide": (Wide, Uninformed, Conditional),
    "plugin": (Uninformed, Plugin),
}


def choose(task: Task, samples: int, after: Estimator | None = None) -> Estimator | None:
    """Return the estimator of a piece.

    Parameters
    ----------
    task : Task
    samples : int
        Evaluations of the first round.
    after : Estimator, optional
        One that had the piece and gave it up; the first to be asked is the next in the row.

    Returns
    -------
    Estimator or None
        None if none applies.
    """
    row = ESTIMATORS[task.options.estimator]
    start = 0 if after is None else row.index(type(after)) + 1
    return next((kind(task) for kind in row[start:] if kind.applies(task, samples)), None)
