"""Recurrent networks through time: from a state or an input to the states that follow.

:mod:`.read` makes a cell of what the user has, :mod:`.collapsed` measures lags that are one layer,
:mod:`.sampled` all others.
"""

from .result import ThroughTime
from .through import through_time

__all__ = ["ThroughTime", "through_time"]
