"""The plan of a measurement: which independent pieces there are, and which of them are exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..pairwise import output_marginals
from ..results import Pairwise
from ..run import Runner
from .bounds import WIDEN
from .exact import Exact
from .given import given_entropies, tractable
from .options import JointOptions
from .pieces import Piece, by_group, connected, restrict, silent
from .task import Target, Task

__all__ = ["Plan", "PlannedPiece", "make_plan"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PlannedPiece:
    """A piece, and its numbers if they take no samples.

    Parameters
    ----------
    task : Task
    exact : Exact or None
    """

    task: Task
    exact: Exact | None


@dataclass(frozen=True, eq=False)
class Plan:
    """The pieces of a target.

    Parameters
    ----------
    pieces : list of PlannedPiece
        Those with any output that counts.
    dead : bool
        Whether every sample is dropped, because of an output that depends on nothing. There are no
        pieces then.
    """

    pieces: list[PlannedPiece]
    dead: bool

    @property
    def sampled(self) -> int:
        """Number of pieces that take samples."""
        return sum(piece.exact is None for piece in self.pieces)


def make_plan(
    target: Target,
    key: int,
    options: JointOptions,
    runner: Runner,
    parts: Pairwise | None,
    sampled: bool = True,
) -> Plan:
    """Take a target apart.

    Parameters
    ----------
    target : Target
    key : int
        Of the random numbers.
    options : JointOptions
    runner : Runner
    parts : Pairwise or None
        Of every edge of the channel.
    sampled : bool
        Whether anything is going to be sampled.

    Returns
    -------
    Plan
    """
    groups = by_group(target.channel)
    dead = any(silent(piece) for piece in groups)
    if not options.published:
        groups = [part for piece in groups for part in connected(piece)]
    pieces = []
    for i, piece in enumerate(groups):
        if target.wanted[piece.rows].any() and not dead:
            task = _task(target, piece, _derive(key, i), options, runner)
            task = replace(task, edges=_edges_of(piece, task.rows, parts))
            pieces.append(_planned(task, sampled))
    return Plan(pieces, dead)


def _derive(key: int, index: int) -> int:
    if index == 0:
        return key
    return int(np.random.SeedSequence([key, index]).generate_state(1, np.uint64)[0])


def _task(target: Target, piece: Piece, key: int, options: JointOptions, runner: Runner) -> Task:
    wanted = target.wanted[piece.rows]
    rows, channel = piece.rows[wanted], piece.channel
    if not wanted.all() and not channel.drops:  # the other outputs do not matter
        channel = restrict(channel, np.flatnonzero(wanted), np.arange(channel.weight.shape[1]))
        wanted = wanted[wanted]
    given, outs = target.given[piece.inputs], np.flatnonzero(wanted)
    return Task(channel, given, outs, piece.inputs, rows, key, options, runner)


def _planned(task: Task, sampled: bool) -> PlannedPiece:
    """Find out what is known of a piece without sampling."""
    exact = Exact.of(task)
    channel = task.channel
    if exact is not None or channel.stages or channel.drops:
        return PlannedPiece(task, exact)
    marginals = output_marginals(channel, task.runner)
    if not tractable(channel):
        return PlannedPiece(replace(task, marginals=marginals), None)
    rest = given_entropies(channel, task.given, task.runner, normal=sampled)
    error = float(rest.errors.max())
    known = replace(
        task,
        marginals=marginals,
        rest=rest.values,
        rest_error=error,
        normal=rest.normal if sampled else None,
    )
    return PlannedPiece(known, None)


def _edges_of(piece: Piece, rows: NDArray[np.intp], parts: Pairwise | None) -> Array | None:
    """Return lower bounds of the piece's edges."""
    if parts is None:
        return None
    edges = parts.edges.reshape(len(parts.edges), -1)
    if parts.edges_stderr is not None:
        edges = edges - WIDEN * parts.edges_stderr.reshape(edges.shape)
    if parts.error_bound is not None:
        edges = edges - parts.error_bound
    return np.asarray(edges[np.ix_(rows, piece.columns)])
