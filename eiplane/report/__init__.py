"""One self-contained page of a run or a decomposition.

Needs the extra ``report``.
"""

from .page import write_report

__all__ = ["write_report"]
