"""Points of a shifted lattice, for what is sampled more evenly than at random.

The points themselves are computed in ``csrc/kernels/ei_points.h``, and by the twin in
:mod:`eiplane.reference.generator`. Independent random shifts make replicates, whose spread is the
error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["REPLICATES", "Points", "points_of"]

#: Independent replicates of everything that is measured on a lattice.
REPLICATES = 16

#: Factors of the coordinates: component by component the best, with 2**8 to 2**18 points at once,
#: for functions in the Korobov space of smoothness 1 whose products of coordinates have the weight
#: 0.01 for each (D. Nuyens, R. Cools, Math. Comp. 75, 903, 2006, is the algorithm). All are odd.
_FACTORS = (
    1, 55877, 41493, 225973, 47537, 120533, 247717, 78297, 185317, 225165, 212121, 143789, 111137,
    149217, 179881, 166949, 59633, 98961, 144509, 93497, 257085, 155613, 119941, 100701, 237361,
    227117, 21969, 155081, 105121, 213661, 75061, 194825, 217965, 235089, 242517, 49753, 172729,
    75913, 24129, 27769, 200953, 147397, 148761, 93257, 81653, 31493, 159977, 260625, 115057,
    113601, 227701, 77297, 95841, 51049, 212325, 5929, 236929, 105229, 50637, 166225, 247581,
    182677, 66237, 19453, 159801, 79353, 183217, 149269, 16205, 245565, 235181, 187593, 142829,
    70557, 46185, 252841, 112537, 8661, 237661, 69621, 197433, 174105, 172549, 223113, 130425,
    87897, 140497, 190625, 91913, 179797, 153745, 135269, 33321, 142541, 234917, 214669, 108557,
    227261, 105365, 188229, 228681, 64621, 227169, 162741, 36381, 14657, 85381, 41765, 57089,
    188901, 161697, 202949, 179245, 52181, 167549, 242757, 233913, 175613, 45841, 16949, 223521,
    171721, 60277, 132841, 156893, 177229, 132545, 27517, 183153, 235141, 133357, 31713, 194905,
    65161, 203737, 211125, 175109, 28101, 57353, 89649, 19945, 25477, 164445, 61589, 168777,
    113001, 142965, 124545, 242109, 95853, 226333, 216205, 39977, 208881, 169545, 232961, 199933,
    200501, 230565, 57745, 219885, 4633, 43001, 92109, 151029, 67513, 98357, 209321, 200513, 6241,
    211213, 186669, 67877, 225557, 179045, 131801, 38221, 80561, 139001, 164781, 14113, 21377,
    79589, 138221, 11889, 34905, 3789, 253637, 120053, 168277, 197165, 20073, 66577, 147865,
    191645, 56981, 62641, 197045, 56533, 74481, 182353, 91265, 47409, 69801, 60449, 49569, 21001,
    24273, 131425, 19713, 21821, 203965, 214341, 127825, 178541, 248809, 92773, 155513, 143545,
    193949, 163953, 214289, 111809, 87433, 129141, 196781, 136145, 122405, 116049, 70013, 223457,
    36885, 176205, 22365, 147137, 81181, 45733, 109797, 235585, 195981, 244917, 220925, 214277,
    73181, 180113, 255565, 29129, 38101, 242189, 68153, 216697, 232873, 260221, 260145, 32041,
    10817,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Points:
    """Where the samples of one replicate are, as the core takes it.

    Parameters
    ----------
    factors, shifts : ndarray of uint32, shape (n,)
        Of the first inputs; those beyond are random.
    key, purpose : int
        Of their random numbers.
    """

    factors: NDArray[np.uint32]
    shifts: NDArray[np.uint32]
    key: int
    purpose: int


def points_of(key: int, replicate: int, n_in: int) -> Points:
    """Return the points of a replicate.

    Parameters
    ----------
    key : int
        Decides the shifts.
    replicate : int
        Number of the replicate.
    n_in : int

    Returns
    -------
    Points
    """
    count = min(n_in, len(_FACTORS))
    shifts = (
        np.random.SeedSequence([key, replicate]).generate_state(count, np.uint32).astype(np.uint32)
    )
    factors = np.array(_FACTORS[:count], np.uint32)
    return Points(factors, shifts, key, 1 + replicate)
