"""Rigorous bounds of the EI of whole vectors and of the entropy of outputs, in closed form.

Write X for the input's bins, independent and uniform, Y for the output's, Z for the
pre-activations. (For bounds that need samples, see :mod:`eiplane.joint.bracket`.)

*Chain rule.* ``I(X; Y) >= sum_A I(X_A; Y)``: by the chain rule ``I(X; Y) = sum_A I(X_A; Y |
X_1..X_(A-1))``, and as X_A is independent of the inputs before it, ``I(X_A; Y | X_<A) = I(X_A; Y,
X_<A) >= I(X_A; Y)``. By the data processing inequality ``I(X_A; Y) >= I(X_A; Y_B)`` for every
output B, so ``I(X; Y) >= sum_A max_B I(X_A; Y_B)``. Among the bounds that assign every input to
one output this is the greatest; in particular it is at least ``max_B sum_A I(X_A; Y_B)``. Also
``I(X; Y) >= I(X; Y_B)`` for every B.

*Entropies of the parts.* ``I(X; Y) <= H(X)``, of the inputs that have any effect: ``n log2
in_bins``. And ``I(X; Y) = H(Y) - H(Y | X)``, ``max_B H(Y_B) <= H(Y) <= sum_B H(Y_B)``, and
likewise given X. Identical outputs count once.

*Rank.* ``I(X; Y) <= I(X; Z) = h(Z) - h(Z | X)`` (data processing). Within a cell Z is a shifted
copy of itself, ``in_bins`` times smaller, on a space of rank(W) dimensions; so, all inputs being
given, ``I(X; Y) <= rank(W) log2(in_bins)``.

*Total correlation.* For any set O of outputs with independent rows, ``TC(Y_O) = sum_O H(Y_B) -
H(Y_O) <= TC(Z_O) = sum_O h(Z_B) - h(Z_O)`` (data processing, as every Y_B is a function of Z_B
alone). ``h(Z_B) <= min(log2(2 pi e var Z_B) / 2, log2 of Z_B's support)``. And ``h(Z_O) >= log2
det(W_O D^2 W_O^T) / 2`` for inputs that are uniform on intervals of widths D: a linear map of
independent variables has at least the entropy of the same map of independent Gaussians of the same
entropies (Zamir and Feder, IEEE Trans. Inf. Theory 39(5), 1993, the generalised entropy power
inequality). So ``H(Y) >= sum_O H(Y_B) - TC(Z_O)``, with D the ranges; ``H(Y | X) >= sum_O H(Y_B |
X) - TC(Z_O | cell)``, with D the cells' widths; and ``I(X; Y) >= I(X; Y_O) = sum_O I(X; Y_B) -
TC(Y_O) + TC(Y_O | X) >= sum_O I(X; Y_B) - TC(Z_O)``. O is chosen one output after the other, by
what each gains (Cholesky's factorisation with pivots).

*Components.* If the inputs and outputs fall into parts between which no weight is other than zero,
then ``I(X; Y)`` is the sum over the parts (they are independent), and each is bounded by itself.

What is dropped, pooled, or passes several layers: :mod:`eiplane.joint.indirect`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .given import row_entropies

__all__ = [
    "SLACK",
    "WIDEN",
    "Interval",
    "KnownOutputs",
    "WholeBounds",
    "closed_form",
    "lower_bound",
    "repeated",
    "trivial_bounds",
    "upper_bound",
]

Array = NDArray[np.float64]
Interval = tuple[float, float]

#: Standard errors by which bounds are widened where they rest on samples; and bits, where they rest
#: on the exact engine.
WIDEN, SLACK = 4.0, 1e-8
#: Of a row's own square, the least that may be left beside the rows chosen before, for it to count
#: as independent of them: what rounding does to its logarithm is then below 1e-6 bits.
_INDEPENDENT = 1e-8
#: Share of a Gram matrix's greatest eigenvalue above which the least is no rounding error.
_FULL = 1e-10
#: Beyond so many rows or columns the rank is not looked for.
_RANK = 1024
#: Bits by which rounding may move a sum of thousands of logarithms.
_ROUNDING = 1e-6


def trivial_bounds(n_in: int, n_out: int, in_bins: int, out_bins: int) -> Interval:
    """Return ``0`` and the lesser of the two vectors' largest entropies."""
    return 0.0, min(n_in * math.log2(in_bins), n_out * math.log2(out_bins))


def lower_bound(edges: Array | None, influence_out: Array | None) -> float:
    """Return a lower bound of ``I(X; Y)`` by the chain rule; see the module.

    Parameters
    ----------
    edges : ndarray of float64, shape (n_out, n_in), or None
        Lower bounds of ``I(X_A; Y_B)``; None where they are not known.
    influence_out : ndarray of float64, shape (n_out,), or None
        Lower bounds of ``I(X; Y_B)``.

    Returns
    -------
    float
        In bits.
    """
    low = 0.0
    if edges is not None and edges.size:
        low = float(np.maximum(edges, 0.0).max(axis=0).sum())
    if influence_out is not None and influence_out.size:
        low = max(low, float(influence_out.max()))
    return low


def upper_bound(
    inputs: float, entropies: Array, given: Array | None, twins: NDArray[np.bool_] | None = None
) -> float:
    """Return an upper bound of ``I(X; Y)`` from the parts' entropies; see the module.

    Parameters
    ----------
    inputs : float
        ``H(X)`` of the inputs that have an effect.
    entropies : ndarray of float64, shape (n_out,)
        ``H(Y_B)`` or upper bounds of it.
    given : ndarray of float64, shape (n_out,), or None
        Lower bounds of ``H(Y_B | X)``.
    twins : ndarray of bool, shape (n_out,), optional
        Outputs that are copies of an earlier one.

    Returns
    -------
    float
        In bits.
    """
    own = entropies if twins is None else entropies[~twins]
    noise = 0.0 if given is None or not given.size else float(given.max())
    return max(0.0, min(inputs, float(own.sum()) - noise))


def repeated(channel: Channel) -> NDArray[np.bool_]:
    """Return which outputs are copies of an earlier one."""
    rule = np.zeros(channel.n_out) if channel.rule is None else channel.rule
    rows = np.column_stack([channel.weight, channel.bias, rule]).astype(np.float64)
    rows += 0.0  # -0 is 0
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), i) < i for i, row in enumerate(rows)], bool)


@dataclass(frozen=True, eq=False)
class KnownOutputs:
    """What is known of the single outputs of a channel without stages or drops, in bits.

    Parameters
    ----------
    marginals : ndarray of float64, shape (n_out, out_bins)
        Their distributions.
    rest : ndarray of float64, shape (n_out,)
        ``H(Y_B | X)``, X the bins of the given inputs.
    error : float
        Greatest, of ``entropies`` or ``rest``.
    """

    marginals: Array
    rest: Array
    error: float

    @property
    def entropies(self) -> Array:
        """``H(Y_B)``."""
        return row_entropies(self.marginals)

    @property
    def information(self) -> Array:
        """``I(X; Y_B)``."""
        return np.maximum(self.entropies - self.rest, 0.0)


@dataclass(frozen=True)
class WholeBounds:
    """Intervals that hold ``I(X; Y)``, ``H(Y)`` and ``H(Y | X)``, in bits."""

    information: Interval
    entropy: Interval
    rest: Interval

    def joined(self) -> WholeBounds:
        """Return the same with what each says about the others: ``I = H(Y) - H(Y | X)``."""
        (i0, i1), (h0, h1), (r0, r1) = self.information, self.entropy, self.rest
        i0, i1 = max(i0, h0 - r1, 0.0), min(i1, h1 - r0)
        h0, h1 = max(h0, i0 + r0), min(h1, i1 + r1)
        r0, r1 = max(r0, h0 - i1, 0.0), min(r1, h1 - i0)
        return WholeBounds((i0, max(i0, i1)), (h0, max(h0, h1)), (r0, max(r0, r1)))

    def within(self, other: WholeBounds) -> WholeBounds:
        """Return what both say."""
        pairs = (
            (self.information, other.information),
            (self.entropy, other.entropy),
            (self.rest, other.rest),
        )
        tight = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in pairs]
        return WholeBounds(*((low, max(low, high)) for low, high in tight)).joined()


def closed_form(
    channel: Channel,
    given: NDArray[np.bool_],
    singles: KnownOutputs,
    edges: Array | None = None,
) -> WholeBounds:
    """Return the bounds of the module that need no samples.

    Parameters
    ----------
    channel : Channel
        Without stages, groups or drops.
    given : ndarray of bool, shape (n_in,)
        The inputs that X holds; the others are noise.
    singles : KnownOutputs
    edges : ndarray of float64, shape (n_out, n_in), optional
        Lower bounds of ``I(X_A; Y_B)``.

    Returns
    -------
    WholeBounds
    """
    live = ~repeated(channel) & (channel.weight != 0.0).any(axis=1)
    if not live.any():
        return WholeBounds((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    weight, slack = channel.weight[live], singles.error
    entropies, rest = singles.entropies[live], singles.rest[live]
    information = singles.information[live]
    span = channel.in_hi - channel.in_lo
    free = np.full(channel.n_in, span)
    held = np.where(given, span / channel.in_bins, span)
    wanted = np.stack([entropies - 2.0 * slack, information - 2.0 * slack, rest - slack])
    if given.all():  # one factor for all widths, which what outputs share does not see
        *whole, noise = _independent_part(weight, free, wanted)
    else:
        whole = _independent_part(weight, free, wanted[:2])
        [noise] = _independent_part(weight, held, wanted[2:])
    given_alone = None if edges is None else edges[:, given]
    low = max(lower_bound(given_alone, information - 2.0 * slack), whole[1])
    effective = int((given & (channel.weight != 0.0).any(axis=0)).sum())
    high = effective * math.log2(channel.in_bins)
    if given.all() and max(weight.shape) <= _RANK:
        high = min(high, _rank(weight) * math.log2(channel.in_bins) + _ROUNDING)
    top = np.minimum(entropies + slack, math.log2(channel.out_bins))
    return WholeBounds(
        (low, high),
        (max(whole[0], float(entropies.max()) - slack), float(top.sum())),
        (max(noise, float(rest.max()) - slack, 0.0), float((rest + slack).sum())),
    ).joined()


def _rank(weight: Array) -> int:
    """Return the rank; by singular values only where the Gram matrix leaves a doubt."""
    small = weight if weight.shape[0] <= weight.shape[1] else weight.T
    size = float(np.abs(small).max())
    scaled = small / size
    values = np.linalg.eigvalsh(scaled @ scaled.T)
    if values[0] > _FULL * values[-1]:
        return len(small)
    return int(np.linalg.matrix_rank(weight))


def _independent_part(weight: Array, widths: Array, values: Array) -> list[float]:
    """Return, for every row of values, the greatest sum found of values over a set less its TC.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_out, n_in)
    widths : ndarray of float64, shape (n_in,)
        Of the inputs.
    values : ndarray of float64, shape (kinds, n_out)
    """
    scaled = weight * widths
    # A row's own size does not matter: brought near 1, so that no square leaves float64.
    exponents = np.frexp(np.abs(scaled).max(axis=1, keepdims=True))[1]
    scaled = np.ldexp(scaled, -exponents)
    gram = scaled @ scaled.T
    squares = gram.diagonal().copy()
    some = squares > 0.0  # the products of a row may all vanish
    normal = 0.5 * np.log2(2.0 * math.pi * math.e / 12.0 * np.where(some, squares, 1.0))
    own = np.minimum(normal, np.log2(np.where(some, np.abs(scaled).sum(axis=1), 1.0)))
    own[~some] = np.inf
    most = min(weight.shape)
    return [_greedy(gram, squares, most, gain - own) for gain in values]


def _greedy(gram: Array, squares: Array, most: int, gain: Array) -> float:
    """Return the greatest sum found of gain_B + log2(length of row B beside the rows before)."""
    left = squares.copy()
    columns = np.empty((most, len(squares)))
    best = total = 0.0
    for k in range(len(columns)):
        open_to = left > _INDEPENDENT * squares
        if not open_to.any():
            break
        score = np.where(open_to, gain + 0.5 * np.log2(np.where(open_to, left, 1.0)), -np.inf)
        chosen = int(score.argmax())
        if score[chosen] <= 0.0:  # what is left of a row only falls
            break
        total += float(score[chosen])
        best = max(best, total)
        across = gram[chosen] - columns[:k, chosen] @ columns[:k]
        columns[k] = across / math.sqrt(left[chosen])
        left = left - columns[k] ** 2
        left[chosen] = 0.0
    return max(best - _ROUNDING, 0.0)
