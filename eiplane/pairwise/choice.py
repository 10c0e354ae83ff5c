"""Who decides whether a pairwise measure is exact or sampled: :func:`measure`."""

from __future__ import annotations

from ..network import Channel
from ..results import Pairwise
from ..run import Runner, Sampling
from . import exact, sampled
from .measures import Measure

__all__ = ["check_method", "measure"]


def check_method(channel: Channel, method: str) -> None:
    """Raise ValueError where a layer was to be exact and cannot be."""
    if method == "exact" and not exact.applies(channel):
        raise ValueError(
            f"layer {channel.name!r}: method='exact' is for single layers without pooling; "
            "use method='auto' or 'sample'"
        )


def measure(
    which: Measure, channel: Channel, method: str, sampling: Sampling, runner: Runner
) -> Pairwise:
    """Measure every edge of a layer: exactly where that applies, unless samples are wanted.

    Parameters
    ----------
    which : {"ei_parts", "sensitivity"}
        With all inputs perturbed, or with one at a time.
    channel : Channel
    method : {"auto", "exact", "sample"}
    sampling : Sampling
        Not used where it is exact.
    runner : Runner

    Returns
    -------
    Pairwise

    Raises
    ------
    ValueError
        If the method is ``"exact"`` and the layer is several at once.
    """
    check_method(channel, method)
    if method != "sample" and exact.applies(channel):
        return exact.measure(which, channel, runner)
    return sampled.measure(which, channel.widened(), sampling, runner)
