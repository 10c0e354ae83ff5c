"""Bounds alone: of a whole layer, without a single sample."""

from __future__ import annotations

from ..network import Channel
from ..results import Pairwise, VectorBounds
from ..run import Runner
from .nodes import SingleOutputs
from .options import JointOptions
from .plan import make_plan
from .settle import whole_bounds
from .task import Target

__all__ = ["closed_bounds"]


def closed_bounds(channel: Channel, runner: Runner, parts: Pairwise | None = None) -> VectorBounds:
    """Return the closed-form bounds of a layer; see :mod:`eiplane.joint.bounds`.

    Parameters
    ----------
    channel : Channel
    runner : Runner
    parts : Pairwise, optional
        ``I(x_A; y_B)`` of every edge.

    Returns
    -------
    VectorBounds
    """
    plan = make_plan(Target.whole(channel), 0, JointOptions(), runner, parts, sampled=False)
    low = high = entropy_low = entropy_high = 0.0
    for piece in plan.pieces:
        if piece.exact is not None:
            found = piece.exact.result()
            information, entropy = found.information.bounds, found.output.bounds
        else:
            whole = whole_bounds(piece.task, SingleOutputs(piece.task), 0)
            information, entropy = whole.information, whole.entropy
        low, high = low + information[0], high + information[1]
        entropy_low, entropy_high = entropy_low + entropy[0], entropy_high + entropy[1]
    # A constant's entropy may be rounded to below nothing.
    return VectorBounds((low, max(low, high)), (entropy_low, max(entropy_low, entropy_high)))
