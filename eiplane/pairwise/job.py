"""Blocks of sampled work."""

from __future__ import annotations

from dataclasses import dataclass

from ..network import Channel

__all__ = ["Job", "evaluation"]

#: Seconds that the evaluation of one edge takes a core, roughly; bench/roofline.py measures it.
_EVALUATED = 0.15e-9


@dataclass(frozen=True)
class Job:
    """A block of work, as the core takes it: outputs, inputs (half-open) and samples."""

    key: int
    out_start: int
    out_stop: int
    in_start: int
    in_stop: int
    first: int
    count: int
    stream: int = 0  # of random numbers, that of the channel's first input
    masks: int = -1  # count with bit masks, or not; -1: what suits the CPU

    @property
    def where(self) -> str:
        """Which block this is, for errors."""
        spans = (
            ("outputs", self.out_start, self.out_stop),
            ("inputs", self.in_start, self.in_stop),
            ("samples", self.first, self.first + self.count),
        )
        return ", ".join(f"{name} {start}..{stop - 1}" for name, start, stop in spans)


def evaluation(channel: Channel) -> float:
    """Return the seconds that one sample's evaluation takes."""
    edges = channel.weight.size + sum(s.weight.size for s in channel.stages if s.weight is not None)
    return _EVALUATED * edges
