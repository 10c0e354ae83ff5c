"""Who decides whether a pairwise measure is exact or sampled: :func:`measure`."""

from __future__ import annotations

from collections.abc import Iterable

from ..network import Channel
from ..results import Pairwise, Totals
from ..run import Runner, Sampling
from . import exact, lines, sampled, simplices
from .measures import Measure
from .straight import single

__all__ = ["check_method", "measure"]


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
    which: Measure,
    channel: Channel,
    method: str,
    sampling: Sampling,
    runner: Runner,
    edges: bool = True,
) -> Pairwise | Totals:
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
    edges : bool
        Whether the edges are wanted, and not their sums alone.

    Returns
    -------
    Pairwise or Totals

    Raises
    ------
    ValueError
        If the method is ``"exact"`` and nothing exact applies.
    """
    alone = None if method == "sample" else single(channel)
    if not edges and alone is not None and exact.applies(alone):
        return exact.totals(which, alone, runner)
    found = _edges(which, channel, alone, method, sampling, runner)
    return found if edges else found.totals()


def _edges(
    which: Measure,
    channel: Channel,
    alone: Channel | None,
    method: str,
    sampling: Sampling,
    runner: Runner,
) -> Pairwise:
    if alone is None:
        return sampled.measure(which, channel.widened(), sampling, runner)
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
