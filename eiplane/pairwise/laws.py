"""The law of a sum of a few uniforms, as a polynomial in pieces, and integrals against it.

Parts are added one by one, the narrowest first: the density of the sum of one more, of width w, is
``(F(x + w / 2) - F(x - w / 2)) / w`` with F the distribution function before. As w is no less than
any part before it, the difference loses no digits. Between two places where pieces meet, the sums
of the halves of all parts with any signs, everything is a polynomial, found from its values at as
many Chebyshev points as it has coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .panels import NODES, legendre

__all__ = ["SumLaw", "node_masses"]

Array = NDArray[np.float64]

#: Points of the product of a law and an interpolant: exact up to degree 23, and 15 + 7 is the most.
_POINTS = 12
#: Places closer than this, in widths of the whole, are one.
_SAME = 1e-14
#: Numbers held at once.
_BLOCK = 1 << 21


@lru_cache(maxsize=16)
def _interpolation(count: int) -> tuple[Array, Array]:
    """Return Chebyshev points, and what makes coefficients of powers from values there."""
    points = np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return points, np.linalg.inv(np.vander(points, count, increasing=True))


@dataclass(frozen=True, eq=False)
class SumLaw:
    """Density and distribution function of a sum of centred uniforms.

    Parameters
    ----------
    knots : ndarray of float64, shape (pieces + 1,)
        Where pieces meet, ascending.
    density, below : ndarray of float64, shape (pieces, coefficients)
        Of powers of the place within a piece, from -1 to 1.
    """

    knots: Array
    density: Array
    below: Array

    @staticmethod
    def of(widths: Array) -> SumLaw:
        """Return the law of parts of these widths, all above 0."""
        first, *others = np.sort(widths)
        half = 0.5 * float(first)
        law = SumLaw(np.array([-half, half]), np.array([[1.0 / first]]), np.array([[0.5, 0.5]]))
        for width in others:
            law = law._plus(float(width))
        return law

    def _plus(self, width: float) -> SumLaw:
        half = 0.5 * width
        places = np.sort(np.concatenate([self.knots - half, self.knots + half]))
        apart = np.diff(places) > _SAME * (places[-1] - places[0])
        knots = np.append(places[np.append(True, apart)][: int(apart.sum())], places[-1])
        points, to_powers = _interpolation(self.density.shape[1] + 1)
        middle, own = 0.5 * (knots[1:] + knots[:-1]), 0.5 * np.diff(knots)
        x = middle[:, None] + own[:, None] * points
        values = (self.distribution(x + half) - self.distribution(x - half)) / width
        density = values @ to_powers.T
        below = np.zeros((len(density), density.shape[1] + 1))
        below[:, 1:] = own[:, None] * density / np.arange(1.0, density.shape[1] + 1.0)
        rise = below[:, 1::2].sum(axis=1) * 2.0
        start = np.append(0.0, np.cumsum(rise)[:-1])
        signs = np.where(np.arange(below.shape[1]) % 2, -1.0, 1.0)
        below[:, 0] = start - below @ signs
        return SumLaw(knots, density, below)

    def _at(self, coefficients: Array, x: Array) -> Array:
        """Return polynomials in pieces; beyond the ends the value there."""
        piece = np.searchsorted(self.knots[1:-1], x, side="right")
        low, high = self.knots[piece], self.knots[piece + 1]
        at = np.clip((x - 0.5 * (low + high)) / (0.5 * (high - low)), -1.0, 1.0)
        found = coefficients[piece, -1]
        for power in reversed(range(coefficients.shape[1] - 1)):
            found = found * at + coefficients[piece, power]
        return np.asarray(found)

    def distribution(self, x: Array) -> Array:
        """Return the probability of being below x."""
        inside = np.where(x >= self.knots[-1], 1.0, self._at(self.below, x))
        return np.where(x <= self.knots[0], 0.0, inside)

    def values(self, x: Array) -> Array:
        """Return the density at x."""
        inside = (x >= self.knots[0]) & (x <= self.knots[-1])
        return np.where(inside, np.maximum(self._at(self.density, x), 0.0), 0.0)


def node_masses(law: SumLaw, moved: Array, edges: Array) -> Array:
    """Return what a law puts on the nodes of panels: the weights of its mean of any function.

    ``sum over nodes of mass * g(node)`` is the mean of the function that is g's interpolant on each
    panel.

    Parameters
    ----------
    law : SumLaw
    moved : ndarray of float64, shape (k,)
        Where its centre is.
    edges : ndarray of float64, shape (panels + 1,)
        Ascending; everything that the moved laws reach is between.

    Returns
    -------
    ndarray of float64, shape (panels * NODES, k)
    """
    panels, cuts = len(edges) - 1, len(law.knots) + len(edges)
    nodes, own = legendre(NODES)
    degrees = np.arange(NODES) + 0.5
    to_nodes = degrees[:, None] * np.polynomial.legendre.legvander(nodes, NODES - 1).T * own
    result = np.empty((panels * NODES, len(moved)))
    step = max(1, _BLOCK // (cuts * _POINTS))
    for first in range(0, len(moved), step):
        centre = moved[first : first + step, None]
        moments = _moments(law, centre, edges)
        masses = (moments.T @ to_nodes).reshape(len(centre), panels * NODES)
        result[:, first : first + step] = masses.T
    return result


def _moments(law: SumLaw, centre: Array, edges: Array) -> Array:
    """Return integrals of Legendre's polynomials of each panel; shape (degrees, moved * panels)."""
    count, panels = len(centre), len(edges) - 1
    low, high = centre + law.knots[0], centre + law.knots[-1]
    places = np.concatenate(
        [centre + law.knots, np.clip(np.tile(edges, (count, 1)), low, high)], axis=1
    )
    places = np.sort(np.clip(places, edges[0], edges[-1]), axis=1)
    points, weights = legendre(_POINTS)
    half = 0.5 * np.diff(places, axis=1)[:, :, None]
    x = places[:, :-1, None] + half * (points + 1.0)
    mass = (half * weights * law.values(x - centre[:, :, None])).ravel()
    panel = np.searchsorted(edges[1:-1], 0.5 * (places[:, 1:] + places[:, :-1]), side="right")
    middle, own = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    at = ((x - middle[panel][:, :, None]) / own[panel][:, :, None]).ravel()
    number = np.repeat((panel + panels * np.arange(count)[:, None]).ravel(), _POINTS)
    result = np.empty((NODES, count * panels))
    before, now = np.zeros_like(at), np.ones_like(at)
    for degree in range(NODES):
        result[degree] = np.bincount(number, mass * now, count * panels)
        before, now = now, ((2 * degree + 1) * at * now - degree * before) / (degree + 1)
    return result
