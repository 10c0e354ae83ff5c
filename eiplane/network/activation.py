"""Activation functions: each with its values, its range and its monotone pieces.

No engine evaluates the activation of the layer that it measures. The edges of the output bins are
carried back through the activation to *thresholds* of the pre-activation ``z``; a bin is then a
union of intervals of ``z`` (:mod:`.preimage`). Any function will do whose monotone pieces are
known: in closed form (:mod:`.closed`), or found by evaluating it (:mod:`.numeric`).
"""

from __future__ import annotations

import functools
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .limits import as_float
from .monotone import Function, Piece
from .numeric import evaluated, find_pieces, sampled
from .table import Table, tabulated

__all__ = ["Activation"]

Array = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Activation:
    """An elementwise activation function.

    Made by :func:`eiplane.get_activation` from a name, by :meth:`from_function` from any vectorised
    function, by :meth:`scaled`, or by :func:`eiplane.per_row`, with a function of its own for every
    output.

    Parameters
    ----------
    name : str
        Its name, with parameters where they differ from the default, as in ``"leaky_relu(0.2)"``.
    function : callable
        The function itself, on float64 arrays.
    pieces : tuple of Piece
        Its monotone pieces from left to right, covering the whole line; empty where they are found
        when they are needed, see :meth:`pieces_on`.
    natural_range : tuple of float or None
        The range that ``out_range="auto"`` takes, where the activation has a bounded one.
    parameters : tuple of float
        The numbers that the compiled core needs beside the name.
    interval : tuple of float or None
        Where the function is defined; None: on the whole line.
    recipe : tuple or None
        A callable and its arguments that make this activation in another process.
    in_core : bool
        Whether the compiled core evaluates it itself, by its :attr:`kind` and parameters.
    known : bool
        Whether it is the function of that name, not one that anybody called so.
    """

    name: str
    function: Function
    pieces: tuple[Piece, ...] = ()
    natural_range: Range | None = None
    parameters: tuple[float, ...] = ()
    interval: Range | None = None
    recipe: tuple[Callable[..., Activation], tuple[Any, ...]] | None = None
    in_core: bool = False
    known: bool = False
    _found: dict[Range, tuple[Piece, ...]] = field(default_factory=dict, init=False, repr=False)

    @staticmethod
    def from_function(
        function: Function,
        name: str | None = None,
        interval: Range | None = None,
        natural_range: Range | None = None,
    ) -> Activation:
        """Make an activation of any elementwise function.

        Its turning points, and jumps against its direction, are found by evaluating it on the
        pre-activations that a layer can reach; the places where its value crosses the edges of the
        bins by bisection, to the last digits. Steps, flat stretches and kinks are welcome.

        Parameters
        ----------
        function : callable
            Takes a float64 array of any shape and returns the values, of the same shape, in
            float64. Equal arguments must give equal values.
        name : str, optional
            What results call it; by default the function's own name.
        interval : (float, float), optional
            The pre-activations for which the function is defined, where that is not the whole line.
            A layer that can reach others is an error.
        natural_range : (float, float), optional
            Its range, where that is bounded and known: what ``out_range="auto"`` then takes.

        Returns
        -------
        Activation

        Raises
        ------
        TypeError
            If it is not callable, or (once it is used) returns anything else than real float64
            numbers, one for each.
        ValueError
            For a bad interval or range, and (once it is used) for values that are not finite within
            reach of the layer, or more than 4096 turning points there.

        Notes
        -----
        A feature narrower than the distance of the points at which the function is first evaluated
        can be missed: at most a thousandth of the reachable interval, 0.025 within +-8, and 2.2 %
        of ``|z|``.

        To be sent to a process pool the function must be picklable: defined at the top level of a
        module, not a lambda.

        Examples
        --------
        >>> import numpy as np, eiplane
        >>> wave = eiplane.Activation.from_function(np.sin)
        >>> d = eiplane.analyze([np.eye(2) * 9], wave, measures="ei_parts")
        >>> d[0].activation, d[0].out_range
        ('sin', (-1.0, 1.0))
        """
        if not callable(function):
            raise TypeError(
                f"an activation is made of a callable, not of {type(function).__name__}"
            )
        name = name or str(getattr(function, "__name__", "") or type(function).__name__)
        bounds = (("interval", interval), ("natural_range", natural_range))
        first, second = (
            _checked_range(value, f"activation {name!r}: {what}") for what, value in bounds
        )
        recipe = (Activation.from_function, (function, name, first, second))

        def on_a_copy(z: Array) -> Array:  # it may write into what it is given
            return function(z.copy())

        return Activation(name, on_a_copy, (), second, (), first, recipe)

    def __call__(self, z: ArrayLike, axis: int = -1) -> Array:
        """Return the activation of ``z``.

        Parameters
        ----------
        z : array_like
        axis : int
            Which axis holds the outputs. It matters where every output has a function of its own.
        """
        return np.asarray(self.function(np.asarray(z, dtype=np.float64)), dtype=np.float64)

    def __reduce__(self) -> tuple[Callable[..., Activation], tuple[Any, ...]]:
        # The functions may be closures; a recipe travels between processes.
        if self.recipe is None:
            raise pickle.PicklingError(
                f"activation {self.name!r} cannot be sent to another process"
            )
        if self.recipe[0] is Activation.from_function:
            try:
                pickle.dumps(self.recipe[1][0])
            except Exception as error:
                raise pickle.PicklingError(
                    f"activation {self.name!r}: its function cannot be sent to another process "
                    f"({error}); define it at the top level of a module, or use threads"
                ) from None
        return self.recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def _key(self) -> tuple[Any, ...]:
        return (self.name, self.function if self.recipe is None else self.recipe)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    @property
    def kind(self) -> str:
        """The name without parameters; empty for a function that is not a known one.

        What a function can do is read from this, never from its name, which anybody may give.
        """
        return self.name.partition("(")[0] if self.known else ""

    @property
    def title(self) -> str:
        """What errors call it."""
        return f"activation {self.name!r}"

    @property
    def rows(self) -> int | None:
        """The number of outputs that it is for; None: any number, all with one function."""
        return None

    @property
    def distinct(self) -> tuple[Activation, ...]:
        """The different functions that its outputs have: itself alone, if they share it."""
        return (self,)

    @property
    def rule(self) -> NDArray[np.int32] | None:
        """Which of :attr:`distinct` every output has, where they differ."""
        return None

    def repeated(self, times: int) -> Activation:
        """Return the activation of a layer in which every output stands so many times in a row."""
        return self

    def scaled(self, c: float, d: float = 0.0) -> Activation:
        """Return ``c f + d``, itself an activation.

        Parameters
        ----------
        c, d : float
            Finite; c is not 0.

        Returns
        -------
        Activation
            Its pieces are as exact as the function's own, and its natural range follows.
        """
        c, d = float(c), float(d)
        if not (math.isfinite(c) and math.isfinite(d)) or c == 0.0:
            raise ValueError(f"{self.title}: scaled by {c:g} and {d:g}; both finite, and not by 0")
        if (c, d) == (1.0, 0.0):
            return self
        function, natural = self.function, self.natural_range
        if natural is not None:
            natural = (c * natural[0] + d, c * natural[1] + d)
            natural = (min(natural), max(natural))
        times = f"{c:g} * {self.name}" if c != 1.0 else self.name
        return Activation(
            times + (f" {'-' if d < 0 else '+'} {abs(d):g}" if d else ""),
            lambda z: c * function(z) + d,
            tuple(piece.scaled(c, d) for piece in self.pieces),
            natural,
            (),
            self.interval,
            (Activation.scaled, (self, c, d)),
        )

    def pieces_on(self, low: float, high: float) -> tuple[Piece, ...]:
        """Return the monotone pieces that matter on an interval.

        Parameters
        ----------
        low, high : float
            Finite, ``low <= high``.

        Returns
        -------
        tuple of Piece
            From left to right, the first one from -inf, the last one to inf; those found
            numerically hold within the interval only.

        Raises
        ------
        TypeError, ValueError
            See :meth:`from_function`.
        """
        if self.pieces:
            return self.pieces
        low, high = self._within(np.array([low, high]))
        asked = (float(low), float(high))
        if asked not in self._found:
            if len(self._found) > 64:
                self._found.clear()
            self._found[asked] = find_pieces(self.function, *asked, self.title)
        return self._found[asked]

    def check(self, low: float, high: float) -> None:
        """Raise what :meth:`pieces_on` would, in a fraction of its time.

        Parameters
        ----------
        low, high : float
            Finite, ``low <= high``.

        Raises
        ------
        TypeError, ValueError
        """
        if not self.pieces:
            low, high = self._within(np.array([low, high]))
            sampled(self.function, float(low), float(high), self.title)

    def tabulated(self, low: float, high: float) -> Table:
        """Return the function on an interval as the core can evaluate it: a piecewise polynomial.

        Parameters
        ----------
        low, high : float
            Finite, ``low <= high``.
        """
        low, high = self._within(np.array([low, high]))
        return tabulated(self.function, float(low), float(high), self.title)

    def _within(self, z: Array) -> Array:
        """Return pre-activations that lie where the function is defined, but for rounding."""
        if self.interval is None:
            return z
        start, stop = self.interval
        spare = 1e-9 * (stop - start)
        if z.min() < start - spare or z.max() > stop + spare:
            raise ValueError(
                f"{self.title}: is defined from {start:g} to {stop:g}, but the layer can reach "
                f"{z.min():g} to {z.max():g}"
            )
        return np.clip(z, start, stop)

    def rises_on(self, low: float, high: float) -> bool:
        """Say whether the function nowhere falls on an interval."""
        pieces = self.pieces_on(low, high)
        risen = all(p.at_stop <= q.at_start for p, q in pairwise(pieces))
        return risen and all(p.rising for p in pieces)

    @functools.cached_property
    def rises(self) -> bool:
        """Whether it is known, in closed form and everywhere, and nowhere falls."""
        return bool(self.pieces) and self.interval is None and self.rises_on(-math.inf, math.inf)

    def values_at(self, *places: float) -> tuple[float, ...]:
        """Return the function's values at a few places.

        Raises
        ------
        TypeError, ValueError
            If it gives no finite numbers there.
        """
        return tuple(evaluated(self.function, np.array(places), self.title).tolist())

    def images(self, low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
        """Return the least and the greatest value on each of many intervals.

        Parameters
        ----------
        low, high : array_like of float64, shape (n,)
            Finite ends of intervals of pre-activations; where outputs have functions of their own,
            one interval an output, or one for all.

        Returns
        -------
        least, greatest : ndarray of float64, shape (n,)
            The smallest intervals that hold the images.
        """
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        low, high = self._within(low), self._within(high)
        ends = [evaluated(self.function, z, self.title) for z in (low, high)]
        least, greatest = np.minimum(*ends), np.maximum(*ends)
        pieces = self.pieces_on(float(low.min()), float(high.max()))
        for before, after in pairwise(pieces):
            inside = (low < after.start) & (after.start < high)
            for value in (before.at_stop, after.at_start):
                least = np.where(inside, np.minimum(least, value), least)
                greatest = np.where(inside, np.maximum(greatest, value), greatest)
        return least, greatest

    def image(self, low: float, high: float) -> Range:
        """Return the least and the greatest value on ``[low, high]``.

        Parameters
        ----------
        low, high : float
            A finite interval of pre-activations.

        Returns
        -------
        tuple of float
            The smallest interval that holds the image.
        """
        least, greatest = self.images(np.array([low]), np.array([high]))
        return float(least.min()), float(greatest.max())


def _checked_range(value: Any, what: str) -> Range | None:
    if value is None:
        return None
    try:
        if any(isinstance(end, str | bytes) for end in value):  # reads like a number, and is none
            raise TypeError
        low, high = map(as_float, value)
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a pair of numbers, not {value!r}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{what} must be finite, its first number below its second, not {value!r}")
    return low, high
