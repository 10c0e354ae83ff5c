"""Who decides whether a pairwise measure is exact or sampled: :func:`measure`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..network import Channel
from ..results import Pairwise, Totals
from ..run import Runner, Sampling
from . import exact, lines, sampled, simplices
from .measures import Measure
from .straight import single

__all__ = ["Small", "check_method", "measure", "totals"]


def check_method(channel: Channel, method: str, wanted: Iterable[Measure]) -> None:
    """Raise ValueError where a layer was to be exact and cannot be."""
    if method == "exact" and not all(_exactly(which, channel) for which in wanted):
        raise ValueError(
            f"layer {channel.name!r}: method='exact' is for single layers without pooling; several "
            "layers have exact EI_parts only with one hidden unit, or with two or three inputs and "
            "activations that are linear in pieces; use method='auto' or 'sample'"
        )


def _exactly(which: Measure, channel: Channel) -> bool:
    if exact.applies(channel):
        return True
    if which == "sensitivity":
        return lines.applies(channel)
    return simplices.applies(channel) or exact.applies(single(channel))


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
        If the method is ``"exact"`` and nothing exact applies.
    """
    if method == "sample":
        return sampled.measure(which, channel.widened(), sampling, runner)
    alone = single(channel)
    if exact.applies(alone):
        return exact.measure(which, alone, runner)
    try:
        if which == "sensitivity" and lines.applies(channel):
            return lines.sensitivity(channel, runner)
        if which == "ei_parts" and simplices.applies(channel):
            return simplices.ei_parts(channel)
    except lines.LostError as error:
        if method == "exact":
            raise ValueError(f"layer {channel.name!r}: {error}; use method='sample'") from None
    check_method(channel, method, (which,))
    return sampled.measure(which, channel.widened(), sampling, runner)


def totals(
    wanted: Sequence[Measure], channel: Channel, method: str, sampling: Sampling, runner: Runner
) -> Mapping[Measure, Totals]:
    """Measure a layer as :func:`measure` does, and keep no edge.

    Returns
    -------
    mapping of Totals
        The same numbers.
    """
    if method != "sample" and exact.applies(alone := single(channel)):
        return exact.totals(wanted, [alone], runner)[0]
    return {w: measure(w, channel, method, sampling, runner).totals() for w in wanted}


class Small:
    """Layers so small that what is done once a layer counts: measured together, without edges.

    Parameters
    ----------
    wanted : sequence of {"ei_parts", "sensitivity"}
    method : {"auto", "exact", "sample"}
    """

    def __init__(self, wanted: Sequence[Measure], method: str) -> None:
        self._wanted, self._exact = wanted, method != "sample"
        self._channels: list[Channel] = []
        self._work = 0

    def takes(self, channel: Channel) -> bool:
        """Take a layer, if it is small, and so are all together."""
        if not self._exact or channel.stages:
            return False
        work = exact.is_small(channel, self._work)
        if work:
            self._work += work
            self._channels.append(channel)
        return work > 0

    def totals(self, runner: Runner) -> Sequence[Mapping[Measure, Totals]]:
        """Measure what was taken, as :func:`totals` does, and forget it."""
        channels, self._channels, self._work = self._channels, [], 0
        return exact.totals(self._wanted, channels, runner) if channels else []
