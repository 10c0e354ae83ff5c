"""What is printed where a terminal or a file cannot have every character.

A pipe on Windows, or the locale ``C``, has no arrow; ``print`` would end in a UnicodeEncodeError.
"""

from __future__ import annotations

import codecs
import sys

__all__ = ["ASCII_ERRORS", "printable"]

#: Name of the handler that puts words of ASCII in the place of signs, for ``errors=``.
ASCII_ERRORS = "eiplane-ascii"

_WORDS = {
    "→": "->", "±": "+-", "√": "sqrt", "°": " deg", "×": "x", "µ": "u", "…": "...", "–": "-",
    "━": "=", "╸": "=", "╺": "-", "─": "-", "•": "*", "█": "#",
}  # fmt: skip


def _in_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    words = (_WORDS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in signs)
    return "".join(words), error.end


codecs.register_error(ASCII_ERRORS, _in_words)


def printable(text: str) -> str:
    """Return a text as the standard output can show it.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        The same, unless the output's encoding lacks a sign of it: ``->`` stands for an arrow then.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, ASCII_ERRORS).decode(encoding)
    except (LookupError, UnicodeError):  # an encoding that nobody knows, or half a pair
        return text
