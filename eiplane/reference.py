"""Slow, obvious twins of the compiled kernels, in NumPy. For tests and for readers.

Nothing here imports the core. Integer results are the same to the last count; floating-point ones
are the same wherever the core only adds and multiplies, in the order written here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .network import Channel, Rule

__all__ = [
    "cell_octaves",
    "count_vectors",
    "draws",
    "evaluate",
    "exact_information",
    "exact_single_table",
    "exact_table",
    "input_bins",
    "inputs",
    "joint_bins",
    "joint_table",
    "mutual_information",
    "octave_values",
    "output_bins",
    "pair_table",
    "philox",
    "single_table",
    "uniform_sum",
]

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


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
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
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
            [block & _LOW, block >> _HALF, np.uint64(stream) * ones, np.uint64(purpose) * ones]
        ),
        key,
    )
    # Of the 16 blocks of a group words 0 and 1 make 32 samples, words 2 and 3 the next 32.
    halves = words.reshape(2, 2, groups, 16).transpose(2, 0, 3, 1)
    return halves.reshape(-1)[:count].astype(np.uint32)


def inputs(channel: Channel, draw: NDArray[np.uint32]) -> Array:
    """Return the input values of draws."""
    scale = (channel.in_hi - channel.in_lo) / 4294967296.0
    return np.asarray(channel.in_lo + (draw + 0.5) * scale, dtype=np.float64)


def input_bins(channel: Channel, draw: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the input bins of draws."""
    return ((draw.astype(np.uint64) * np.uint64(channel.in_bins)) >> _HALF).astype(np.int64)


def _affine(weight: Array, bias: Array, x: Array) -> Array:
    z = np.repeat(bias[:, None], x.shape[1], axis=1)
    for k in range(weight.shape[1]):  # one input after the other, as the core adds them
        z = z + weight[:, k, None] * x[k]
    return z


def _finish(channel: Channel, value: Array, first_stage: int = 0) -> Array:
    for stage in channel.stages[first_stage:]:
        if stage.width:
            value = value.reshape(stage.n_out, stage.width, -1).max(axis=1)
        else:
            assert stage.weight is not None and stage.bias is not None
            value = stage.values(_affine(stage.weight, stage.bias, value))
    return _affine(channel.weight, channel.bias, value)


def evaluate(channel: Channel, x: Array) -> Array:
    """Return the pre-activations of inputs.

    Parameters
    ----------
    channel : Channel
    x : ndarray of float64, shape (n_in, samples)

    Returns
    -------
    ndarray of float64, shape (n_out, samples)
    """
    return _finish(channel, x)


def output_bins(channel: Channel, z: Array, output: int | None = None) -> NDArray[np.int32]:
    """Return the output bins of pre-activations, of all outputs or of one; -1 where dropped."""
    outputs = range(channel.n_out) if output is None else [output]
    bins = np.empty((len(outputs), z.shape[-1]), np.int32)
    for row, values, b in zip(bins, np.atleast_2d(z), outputs, strict=True):
        rule = channel.rule_of(b)
        row[:] = rule.labels[np.searchsorted(rule.thresholds, values, side="right")]
    return bins if output is None else bins[0]


def joint_table(
    x: NDArray[np.int64], y: NDArray[np.int32], in_bins: int, out_bins: int
) -> NDArray[np.int64]:
    """Return how often every pair of bins occurs; dropped samples (-1) in the last column.

    Returns
    -------
    ndarray of int64, shape (in_bins, out_bins + 1)
    """
    y = np.where(y < 0, out_bins, y)
    return np.bincount(x * (out_bins + 1) + y, minlength=in_bins * (out_bins + 1)).reshape(
        in_bins, out_bins + 1
    )


def pair_table(
    channel: Channel, key: int, first: int, count: int, output: int, input: int
) -> NDArray[np.int64]:
    """Return the joint table of one pair with every input perturbed, (in_bins, out_bins + 1)."""
    r = np.stack([draws(key, k, first, count) for k in range(channel.n_in)])
    z = evaluate(channel, inputs(channel, r))
    return joint_table(
        input_bins(channel, r[input]),
        output_bins(channel, z[output], output),
        channel.in_bins,
        channel.out_bins,
    )


def single_table(
    channel: Channel, key: int, first: int, count: int, output: int, input: int
) -> NDArray[np.int64]:
    """Return the joint table of one pair with that input alone perturbed."""
    r = draws(key, input, first, count)
    x = inputs(channel, r)
    stage = channel.stages[0] if channel.stages else None
    if stage is not None and stage.width:
        held = np.full((channel.n_in, count), channel.baseline)
        held[input] = x
        z = evaluate(channel, held)
    else:
        weight = channel.weight if stage is None else stage.weight
        base = channel.bias if stage is None else stage.bias
        assert weight is not None and base is not None
        base = base.copy()
        if channel.baseline != 0.0:
            for k in range(channel.n_in):
                base += weight[:, k] * channel.baseline
            base -= weight[:, input] * channel.baseline
        z = base[:, None] + weight[:, input, None] * x
        if stage is not None:
            z = _finish(channel, stage.values(z), 1)
    return joint_table(
        input_bins(channel, r),
        output_bins(channel, z[output], output),
        channel.in_bins,
        channel.out_bins,
    )


def mutual_information(table: NDArray[np.int64]) -> float:
    """Return the plug-in mutual information of a table of counts, in bits."""
    total = table.sum()
    if total == 0:
        return 0.0
    p = table / total
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log2(p[some] / expected[some])).sum())


def uniform_sum(widths: Sequence[Fraction], points: Sequence[Fraction]) -> list[float]:
    """Return P(S < x), S a sum of independent uniforms centred at zero.

    Up to ten widths: inclusion and exclusion in whole numbers, correctly rounded; ``P(S < x)`` is
    ``sum over subsets (-1)^|subset| (x + total/2 - sum(subset))_+^n / (n! prod widths)``.
    More: the Fourier series on a period that covers the support, until its terms vanish.

    Parameters
    ----------
    widths : sequence of Fraction
        Not negative; those of zero are ignored.
    points : sequence of Fraction

    Returns
    -------
    list of float
    """
    return [float(value) for value in _uniform_distribution(widths, points)]


def _uniform_distribution(
    widths: Sequence[Fraction], points: Sequence[Fraction]
) -> list[Fraction] | list[float]:
    """Return the same, as fractions where it is exact: neighbours may differ by very little."""
    widths = [w for w in widths if w > 0]
    n, total = len(widths), sum(widths, Fraction(0))
    if n == 0:
        return [Fraction(int(x > 0)) for x in points]
    if n > 10:
        return _uniform_series(widths, points)
    unit = math.lcm(*(x.denominator for x in (*widths, *points))) * 2
    whole = [int(w * unit) for w in widths]
    terms = [(0, 1)]
    for w in whole:
        terms += [(s + w, -sign) for s, sign in terms]
    terms.sort()
    below = math.factorial(n) * math.prod(whole)
    out = []
    for point in points:
        at = int((point + total / 2) * unit)
        if point >= total / 2:
            out.append(Fraction(1))
        else:
            top = sum(sign * (at - s) ** n for s, sign in terms if s < at)
            out.append(Fraction(top, below))
    return out


def _uniform_series(widths: Sequence[Fraction], points: Sequence[Fraction]) -> list[float]:
    half = float(sum(widths, Fraction(0))) / 2
    a = np.array([float(w) for w in widths])
    x = np.clip(np.array([float(p) for p in points]), -half, half)
    value = np.full(len(x), 0.5)
    for start in range(0, 1 << 17, 256):
        q = np.arange(start, start + 256) + 0.5
        # np.sinc(t) is sin(pi t) / (pi t); frequency q has the half period 2 half.
        phi = np.prod(np.sinc(np.outer(q, a) / (4 * half)), axis=1)
        value += np.sin(np.outer(x, np.pi * q / (2 * half))) @ (phi / (np.pi * q))
        if np.abs(phi).max() < 1e-17:
            return [float(v) for v in value]
    raise ValueError("this series converges too slowly for a reference")


def _labelled(rule: Rule, bins: int, distribution: Sequence[Fraction] | Sequence[float]) -> Array:
    """Return the probabilities of the output bins from the distribution at the thresholds."""
    table: list[Fraction | float] = [Fraction(0)] * bins
    before: Fraction | float = Fraction(0)
    for label, now in zip(rule.labels, [*distribution, Fraction(1)], strict=True):
        if label >= 0:
            table[label] += max(now - before, Fraction(0))  # a series may undershoot
        before = now
    return np.array([float(p) for p in table])


def exact_table(channel: Channel, output: int, input: int) -> Array:
    """Return the probabilities of the output bins in every bin of one input, all inputs perturbed.

    Given that ``x_A`` lies in a bin, ``z`` is the sum of the other inputs' uniforms, of widths
    ``|w_k| range``, and of one of width ``|w_A| range / in_bins`` about the bin's centre.

    Returns
    -------
    ndarray of float64, shape (in_bins, out_bins)
        A row sums to 1 less the probability that the sample is dropped.
    """
    w = [Fraction(float(v)) for v in channel.weight[output]]
    lo, hi = Fraction(channel.in_lo), Fraction(channel.in_hi)
    mean = Fraction(float(channel.bias[output])) + (lo + hi) / 2 * sum(w)
    widths = [abs(v) * (hi - lo) for v in w]
    own = widths.pop(input)
    widths.append(own / channel.in_bins)
    rule = channel.rule_of(output)
    thresholds = [Fraction(float(t)) - mean for t in rule.thresholds]
    sign = -1 if w[input] < 0 else 1
    points = []
    for i in range(channel.in_bins):
        centre = sign * own * (Fraction(2 * i + 1, 2 * channel.in_bins) - Fraction(1, 2))
        points += [t - centre for t in thresholds]
    values, m = _uniform_distribution(widths, points), len(thresholds)
    rows = [values[i * m : i * m + m] for i in range(channel.in_bins)]
    return np.stack([_labelled(rule, channel.out_bins, row) for row in rows])


def exact_single_table(channel: Channel, output: int, input: int) -> Array:
    """Return the same table with the other inputs held at the baseline.

    Returns
    -------
    ndarray of float64, shape (in_bins, out_bins)
    """
    w = [Fraction(float(v)) for v in channel.weight[output]]
    lo, hi = Fraction(channel.in_lo), Fraction(channel.in_hi)
    held = Fraction(float(channel.bias[output]))
    held += Fraction(channel.baseline) * (sum(w) - w[input])
    rows, rule = [], channel.rule_of(output)
    for i in range(channel.in_bins):
        width = (hi - lo) / channel.in_bins
        ends = sorted(held + w[input] * (lo + width * k) for k in (i, i + 1))
        below = []
        for t in rule.thresholds:
            share = Fraction(float(t)) - ends[0]
            if ends[1] > ends[0]:
                inside = share / (ends[1] - ends[0])
                below.append(min(max(inside, Fraction(0)), Fraction(1)))
            else:
                below.append(Fraction(int(share > 0)))
        rows.append(_labelled(rule, channel.out_bins, below))
    return np.stack(rows)


def exact_information(table: Array) -> float:
    """Return the information of equally likely rows, given that a sample is kept, in bits.

    Kept more rarely than once in 1e12 counts as never, and is no information.
    """
    kept = table.sum()
    if kept < 1e-12 * len(table):
        return 0.0
    p = table / kept
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return math.fsum(p[some] * np.log2(p[some] / expected[some]))


def joint_bins(
    channel: Channel, key: int, first: int, count: int, purpose: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the bins of all inputs, (n_in, count), and outputs, (n_out, count); -1: dropped."""
    draw = np.stack([draws(key, k, first, count, purpose) for k in range(channel.n_in)])
    return input_bins(channel, draw), output_bins(channel, evaluate(channel, inputs(channel, draw)))


def count_vectors(bins: NDArray[np.integer]) -> dict[tuple[int, ...], int]:
    """Return how often every column occurs."""
    counts: dict[tuple[int, ...], int] = {}
    for column in bins.T:
        vector = tuple(int(b) for b in column)
        counts[vector] = counts.get(vector, 0) + 1
    return counts


def octave_values(draws: int) -> Array:
    """Return the estimates of the entropy's octaves that values contribute, in bits.

    Returns
    -------
    ndarray of float64, shape (octaves, draws + 1)
        Entry (l, n): ``n / K sum over the octave's k of C(K - n, k) / C(K - 1, k) / k``.
    """
    table = np.zeros((draws.bit_length() - 4, draws + 1))
    for k in range(1, draws):
        for n in range(1, draws - k + 1):
            share = Fraction(math.comb(draws - n, k), math.comb(draws - 1, k))
            table[max(0, k.bit_length() - 4), n] += float(Fraction(n, draws * k) * share)
    return table / math.log(2.0)


def cell_octaves(
    channel: Channel,
    key: int,
    purpose: int,
    cell: int,
    draws_each: int,
    given: list[int],
    strata: list[int],
) -> tuple[Array, Array, int]:
    """Return the octaves of the entropy within one cell, nothing dropped.

    Returns
    -------
    whole, parts : ndarray of float64, shape (octaves,)
        Of the output vector; summed over the single outputs.
    singles : int
        Vectors seen once.
    """
    block = cell // 64 * 64
    chosen = [int(input_bins(channel, draws(key, k, block, 64, purpose))[cell - block])
              for k in range(channel.n_in)]  # fmt: skip
    rest = cell
    for k in strata:
        chosen[k] = rest % channel.in_bins
        rest //= channel.in_bins
    start = cell * draws_each // 64 * 64
    skip = cell * draws_each - start
    draw = np.stack(
        [draws(key, k, start, skip + draws_each, purpose + 1)[skip:] for k in range(channel.n_in)]
    )
    for k in given:
        low, high = (-(-((chosen[k] + i) << 32) // channel.in_bins) for i in (0, 1))
        inside = (draw[k].astype(np.uint64) * np.uint64(high - low)) >> _HALF
        draw[k] = (np.uint64(low) + inside).astype(np.uint32)
    bins = output_bins(channel, evaluate(channel, inputs(channel, draw)))
    table = octave_values(draws_each)
    counts = list(count_vectors(bins).values())
    whole = table[:, counts].sum(axis=1)
    parts = sum(table[:, list(count_vectors(row[None]).values())].sum(axis=1) for row in bins)
    return whole, np.asarray(parts), counts.count(1)
