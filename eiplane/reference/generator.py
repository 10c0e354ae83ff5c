"""Random numbers: the counter-based generator, and how samples take its words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["HALF", "draws", "lattice", "philox"]

Words = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
#: Bits of a half word.
HALF = np.uint64(32)


def philox(counter: Words, key: int) -> Words:
    """Return Philox4x32-10 of every counter (Salmon et al., SC 2011, section 3.3).

    Parameters
    ----------
    counter : ndarray of uint64, shape (4, n)
        Four 32-bit words each.
    key : int
        64 bits.

    Returns
    -------
    ndarray of uint64, shape (4, n)
        Four 32-bit words each.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & _LOW, (k1 + np.uint64(0xBB67AE85)) & _LOW
    return np.stack([c0, c1, c2, c3])


def draws(key: int, stream: int, first: int, count: int, purpose: int = 0) -> NDArray[np.uint32]:
    """Return the draws ``first`` to ``first + count`` of a stream.

    Parameters
    ----------
    key, stream, first, count, purpose : int
        ``first`` is a multiple of 64.

    Returns
    -------
    ndarray of uint32, shape (count,)
    """
    groups = -(-count // 64)
    block = np.arange(first // 4, first // 4 + 16 * groups, dtype=np.uint64)
    ones = np.ones_like(block)
    words = philox(
        np.stack(
            [block & _LOW, block >> HALF, np.uint64(stream) * ones, np.uint64(purpose) * ones]
        ),
        key,
    )
    # Of the 16 blocks of a group words 0 and 1 make 32 samples, words 2 and 3 the next 32.
    halves = words.reshape(2, 2, groups, 16).transpose(2, 0, 3, 1)
    return halves.reshape(-1)[:count].astype(np.uint32)


def lattice(factor: int, shift: int, first: int, count: int) -> NDArray[np.uint32]:
    """Return a coordinate of the points ``first`` to ``first + count`` of a shifted lattice.

    Parameters
    ----------
    factor, shift, first, count : int

    Returns
    -------
    ndarray of uint32, shape (count,)
        ``tent(mirrored(i) factor + shift)``, modulo 2**32; see ``csrc/kernels/ei_points.h``.
    """
    values = []
    for i in range(first, first + count):
        mirrored = int(format(i % 2**32, "032b")[::-1], 2)
        v = (mirrored * factor + shift) % 2**32
        values.append(2 * v if v < 2**31 else 2 * (2**32 - v) - 1)
    return np.array(values, np.uint32)
