"""Heat maps of edges as small PNG pictures in the page, transparent where there is nothing.

So they lie on a light page and on a dark one; what they show is also said in words.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["heat_map", "reduced"]

Array = NDArray[np.float64]

# Red, green and blue of what is above zero, and of what is below; both told from each other with
# any colour vision.
_ABOVE, _BELOW = (20, 130, 200), (222, 135, 0)

#: Shades to either side of zero.
_SHADES = 40


def heat_map(matrix: Array, what: str, squares: int, signed: bool = False) -> str:
    """Return the picture of a matrix, with words.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n_out, n_in)
    what : str
        What is drawn, in words.
    squares : int
        The most a side; of a larger matrix each is the mean of a block.
    signed : bool
        Whether what is below zero is drawn too, in another colour.

    Returns
    -------
    str
        A figure.
    """
    n_out, n_in = matrix.shape
    means, block = reduced(matrix, squares)
    most = float(np.abs(means).max(initial=0.0)) if signed else float(means.max(initial=0.0))
    share = np.clip(means / most, -1.0 if signed else 0.0, 1.0) if most > 0.0 else 0.0 * means
    levels = np.rint(np.sign(share) * np.sqrt(np.abs(share)) * _SHADES).astype(np.int64)
    row, column = divmod(int(np.abs(matrix).argmax()), n_in)
    note = f"{n_out} outputs (rows) by {n_in} inputs (columns)"
    if block > 1:
        note += f"; a square is the mean of up to {block} edges"
    scale = f"{-most:.3g} to {most:.3g}" if signed else f"0 to {most:.3g}"
    peak = f"the greatest is {matrix[row, column]:.3g} bits, output {row}, input {column}"
    size = max(2, min(24, 320 // max(means.shape)))
    picture = base64.b64encode(_png(levels)).decode()
    ends = f"{-most:.3g}" if signed else "0"
    return (
        f'<figure class="heat"><figcaption>{escape(what)}: {escape(note)}.</figcaption>'
        f'<img alt="{escape(what)}: {escape(note)}; from {escape(scale)} bits; {escape(peak)}." '
        f'width="{means.shape[1] * size}" height="{means.shape[0] * size}" '
        f'src="data:image/png;base64,{picture}">'
        f'<div class="scale{" signed" if signed else ""}"><span>{ends}</span><i></i>'
        f"<span>{most:.3g} bits</span></div></figure>"
    )


def reduced(matrix: Array, squares: int) -> tuple[Array, int]:
    """Return at most so many rows and columns, means of blocks, and how many edges a block has."""
    steps = [math.ceil(n / squares) for n in matrix.shape]
    means = matrix
    for axis, step in enumerate(steps):
        if step > 1:
            starts = np.arange(0, matrix.shape[axis], step)
            sums = np.add.reduceat(means, starts, axis=axis)
            counts = np.diff([*starts, matrix.shape[axis]])
            means = sums / np.expand_dims(counts, 1 - axis)
    return means, steps[0] * steps[1]


def _png(levels: NDArray[np.int64]) -> bytes:
    """Return a picture of a palette, one number a pixel from -_SHADES to _SHADES."""
    colours = [_BELOW] * _SHADES + [_ABOVE] * (_SHADES + 1)
    alpha = [round(255 * abs(i) / _SHADES) for i in range(-_SHADES, _SHADES + 1)]
    height, width = levels.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # before each row stands: no filter
    rows[:, 1:] = levels + _SHADES
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data)
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", bytes(part for colour in colours for part in colour)),
            (b"tRNS", bytes(alpha)),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
