"""Files: written whole or not at all, JSON lines that survive a kill, optional libraries.

What every other room may use, and what knows of none of them.
"""

from .arrays import read_arrays
from .closing import Closing
from .damage import is_damage
from .extras import require
from .familiar import Familiar, Unread
from .jsonl import Appender, read_records, uncollected
from .kinds import is_result, kind_of
from .near import meant
from .regular import check_regular
from .telling import warn_user
from .whole import append_whole, json_text, left_over, write_whole

__all__ = [
    "Appender",
    "Closing",
    "Familiar",
    "Unread",
    "append_whole",
    "check_regular",
    "is_damage",
    "is_result",
    "json_text",
    "kind_of",
    "left_over",
    "meant",
    "read_arrays",
    "read_records",
    "require",
    "uncollected",
    "warn_user",
    "write_whole",
]
