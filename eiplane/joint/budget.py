"""What sampling a channel costs, and how much of it there is where nobody says."""

from __future__ import annotations

from ..network import Channel

__all__ = ["DEFAULT_SAMPLES", "PILOT", "default_samples", "multiplications", "pilot_samples"]

#: Where neither a number of samples nor a tolerance is given; fewer where a sample takes long.
DEFAULT_SAMPLES = 1 << 19
_DEFAULT_WORK, _FEWEST_DEFAULT = 1 << 29, 1 << 14

#: Samples that show whether any number will do (fewer where a sample takes long).
PILOT, _LEAST_PILOT = 1 << 13, 1 << 10


def multiplications(channel: Channel) -> int:
    """Return the multiplications that a sample takes."""
    return channel.weight.size + sum(s.weight.size for s in channel.stages if s.weight is not None)


def default_samples(channel: Channel) -> int:
    """Return the number of samples for a channel where none is given."""
    return min(DEFAULT_SAMPLES, max(_FEWEST_DEFAULT, _DEFAULT_WORK // multiplications(channel)))


def pilot_samples(channel: Channel) -> int:
    """Return the number of samples for a first look."""
    return min(PILOT, max(_LEAST_PILOT, _DEFAULT_WORK // multiplications(channel) // 2))
