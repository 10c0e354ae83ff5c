"""A training run: the tracker that records it, its history, what it watches.

Records are measured here or in a process of their own (:mod:`.background`).
"""

from .background import Background
from .history import History, as_history
from .record import Record
from .tracker import Tracker

__all__ = ["Background", "History", "Record", "Tracker", "as_history"]
