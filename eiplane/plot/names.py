"""Names of layers as pictures can show them: neither too long, nor taken for mathematics."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["shown_name", "shown_names"]

#: Signs of a name that there is room for, if nothing else is said.
ROOM = 36


def shown_name(name: str, most: int = ROOM) -> str:
    r"""Return a name for matplotlib.

    Parameters
    ----------
    name : str
    most : int
        Signs that there is room for: of a longer name the end is shown, which tells more.

    Returns
    -------
    str
        On one line. Dollars are escaped, as two of them would make a formula; a space stands before
        an underscore, as legends leave out what begins with one.

    Examples
    --------
    >>> shown_name("a$b"), shown_name("_fc"), shown_name("encoder.block.3.dense", most=10)
    ('a\\$b', ' _fc', '…k.3.dense')
    """
    text = " ".join(name.split())
    text = text if len(text) <= most else f"…{text[1 - most :]}"
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def shown_names(names: Sequence[str], most: int = ROOM) -> list[str]:
    """Return several names for one picture.

    Parameters
    ----------
    names : sequence of str
        Distinct.
    most : int
        As of :func:`shown_name`.

    Returns
    -------
    list of str
        Distinct too: what would look the same once it is cut has its position before it.

    Examples
    --------
    >>> shown_names(["h.0.attention.dense", "h.1.attention.dense", "head"], most=12)
    ['1: …ntion.dense', '2: …ntion.dense', 'head']
    """
    cut = [shown_name(name, most) for name in names]
    return [f"{i + 1}: {text}" if cut.count(text) > 1 else text for i, text in enumerate(cut)]
