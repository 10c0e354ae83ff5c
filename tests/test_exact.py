"""The exact engine: against rational arithmetic, the sampled engine and itself."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eiplane import _core, analyze, reference
from eiplane.network import Binning, Channel, Layer, Rule, automatic_range, discretize
from eiplane.network.preimage import preimages
from eiplane.pairwise import exact
from eiplane.pairwise import sampled as pairwise
from eiplane.run import Runner, Sampling, cancel_flag

BITS = 1e-9  # the promise
HERE = Runner(threads=1)


def channel_of(
    weight,
    bias=None,
    activation="sigmoid",
    bins=(8, 8),
    in_range=(0.0, 1.0),
    out_range=None,
    drop=False,
    baseline=0.0,
):
    layer = Layer(np.atleast_2d(np.asarray(weight, float)), bias, activation)
    binning = Binning(*bins, drop=drop, baseline=baseline)
    out = automatic_range(layer, in_range) if out_range is None else out_range
    return discretize(layer, binning, in_range, out)


def raw_channel(weight, bias, thresholds, labels, bins, in_range=(0.0, 1.0), baseline=0.0):
    """A channel with any intervals and labels."""
    return Channel(
        "raw",
        np.ascontiguousarray(np.atleast_2d(weight), dtype=float),
        np.atleast_1d(np.asarray(bias, float)),
        *in_range,
        *bins,
        (Rule(np.asarray(thresholds, float), np.asarray(labels, np.int32)),),
        baseline=baseline,
    )


def assert_exact(channel, outputs=None, inputs=None):
    """Both measures within the promise, and within their own bounds, of rational arithmetic."""
    parts, alone = exact.ei_parts(channel, HERE), exact.sensitivity(channel, HERE)
    for output in range(channel.n_out) if outputs is None else outputs:
        for input_ in range(channel.n_in) if inputs is None else inputs:
            for result, table in (
                (parts, reference.exact_table),
                (alone, reference.exact_single_table),
            ):
                wanted = reference.exact_information(table(channel, output, input_))
                error = abs(result.edges[output, input_] - wanted)
                # The reference's tables are rounded to doubles, its sums of a few thousand too.
                assert error <= min(BITS, result.error_bound + 1e-13), (output, input_, error)
    assert parts.error_bound >= 0
    assert 0 <= alone.error_bound <= BITS
    if not channel.drops:
        assert parts.error_bound <= BITS
    return parts, alone


# ---- against rational arithmetic ----------------------------------------------------------------

ROWS = {
    "one": [2.5],
    "one tiny": [1e-12],
    "negative": [-0.3, -1.7, -2.2],
    "zeros": [0.0, 1.0, 0.0, -2.0],
    "all zero": [0.0, 0.0, 0.0],
    "equal": [0.7] * 7,
    "pairs": [1.0, -1.0, 2.0, 2.0, 0.5],
    "million": [1e6, 1.0, 2.0, -1.0],
    "millionth": [3.0, 1e-6, 2e-6, -3.0, 1.0],
    "picos": [1e-12, 1.0, -1e-12, 0.5],
    "only picos": [1e-12, -2e-12, 1e-12],
    "halves": [2.0**-k for k in range(8)],
    "tenths": [10.0**-k for k in range(8)],
    "thirds": [4 * 3.0**-k for k in range(7)],
    "two giants": [50.0, -80.0, 0.1, 0.2, 0.05],
    "clusters": [1e3, 1e3, 1e3, 1.0, 1.0, 1e-3, 1e-3, 1e-3],
    "subnormal": [1.0, 5e-324, 1e-310],
    "all subnormal": [5e-320, 1e-319],
    "huge": [1e140, -3e139, 1e120],
}


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu", "silu"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_adversarial_rows(row, activation):
    if np.abs(row).max() > 1e200 and activation not in ("sigmoid", "tanh"):
        activation = "tanh"  # the automatic range of an unbounded activation would overflow
    for bias, bins in ((0.1, (8, 8)), (-0.5 * float(np.sum(row)), (3, 5))):
        assert_exact(channel_of(row, [bias], activation, bins))


@pytest.mark.parametrize("bins", [(2, 2), (2, 64), (64, 2), (7, 33), (64, 64)])
def test_bins(bins):
    assert_exact(channel_of([0.4, -2.0, 1.1], [0.2], bins=bins))
    assert_exact(channel_of([2.0, 1.9, -2.1, 1.0, 0.3, 1.2, -0.7], bins=bins), inputs=[0, 3])


def test_a_thousand_bins():
    channel = channel_of([1.0, -2.0], [0.3], bins=(1024, 128))
    parts, _ = assert_exact(channel, inputs=[0])
    many = channel_of(np.linspace(-1, 1, 200), bins=(1024, 1024))
    result = exact.ei_parts(many, HERE)
    assert result.error_bound <= BITS
    # Information grows with the bins, and is a little more than with few of them.
    few = exact.ei_parts(channel_of(np.linspace(-1, 1, 200), bins=(16, 1024)), HERE)
    assert (result.edges >= few.edges - 2 * BITS).all()
    assert parts.edges.max() < 10.0


weights = st.one_of(
    st.floats(-3, 3),
    st.floats(-1e-12, 1e-12),
    st.sampled_from([0.0, 1.0, -1.0, 2.0, 1e6, -1e6, 1e-6, 1e-12, 0.5]),
    st.tuples(st.floats(1, 9.99), st.integers(-12, 6)).map(lambda t: t[0] * 10.0 ** t[1]),
)
ranges = st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (-0.3, 2.7), (0.0, 6.0), (5.0, 5.5)])
bins_ = st.tuples(st.integers(2, 12), st.integers(2, 12))


@settings(max_examples=250)
@given(
    st.lists(weights, min_size=1, max_size=8),
    st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1e3, -1e3, 1e9])),
    st.sampled_from(["sigmoid", "tanh", "relu", "gelu", "identity"]),
    bins_,
    ranges,
    st.sampled_from([0.0, 0.5, -2.0]),
)
def test_any_row(row, bias, activation, bins, in_range, baseline):
    channel = channel_of([row], [bias], activation, bins, in_range, baseline=baseline)
    assert_exact(channel)


@settings(max_examples=150)
@given(
    st.lists(weights, min_size=1, max_size=6),
    st.lists(st.floats(-1, 1), min_size=1, max_size=20, unique=True),
    st.lists(st.integers(-1, 4), min_size=21, max_size=21),
    bins_,
    ranges,
)
def test_any_intervals(row, places, labels, bins, in_range):
    """Labels in any order, and dropped stretches anywhere."""
    lo, hi = in_range
    spread = max(np.abs(row).max() * (hi - lo), 1e-300)
    thresholds = np.unique(0.5 * (lo + hi) * np.sum(row) + spread * np.sort(places))
    labels = labels[: len(thresholds) + 1]
    channel = raw_channel(row, 0.0, thresholds, labels, (bins[0], max(bins[1], 5)), in_range)
    parts = exact.ei_parts(channel, HERE)
    marginal = exact.output_marginals(channel)
    for input_ in range(channel.n_in):
        table = reference.exact_table(channel, 0, input_)
        kept = table.sum() / channel.in_bins
        assert np.abs(marginal[0] - table.mean(axis=0)).max() < 1e-12
        if kept > 1e-2:
            assert parts.error_bound <= BITS
        if kept == pytest.approx(1e-12):  # above counts, below does not
            continue
        error = abs(parts.edges[0, input_] - reference.exact_information(table))
        assert error <= parts.error_bound + 1e-13
        alone = exact.sensitivity(channel, HERE)
        table = reference.exact_single_table(channel, 0, input_)
        error = abs(alone.edges[0, input_] - reference.exact_information(table))
        assert error <= alone.error_bound + 1e-13


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu", "identity"])
def test_dropped_outliers(activation):
    row = [0.9, -1.4, 0.6, 1.0]
    channel = channel_of(row, [0.1], activation, out_range=(0.1, 0.6), drop=True)
    parts, alone = assert_exact(channel)
    marginal = exact.output_marginals(channel)
    assert parts.outlier_fraction == pytest.approx(1 - marginal.sum(), abs=1e-12)
    held = [reference.exact_single_table(channel, 0, i).sum() / 8 for i in range(4)]
    assert alone.outlier_fraction == pytest.approx(1 - np.mean(held), abs=1e-12)
    clipped = exact.ei_parts(channel_of(row, [0.1], activation, out_range=(0.1, 0.6)), HERE)
    assert clipped.outlier_fraction == pytest.approx(parts.outlier_fraction, abs=1e-12)


def test_everything_dropped_is_no_information():
    channel = channel_of([1.0, 2.0], [50.0], "identity", out_range=(0, 1), drop=True)
    parts, alone = exact.ei_parts(channel, HERE), exact.sensitivity(channel, HERE)
    assert (parts.edges == 0).all()
    assert (alone.edges == 0).all()
    assert parts.outlier_fraction == alone.outlier_fraction == 1.0
    # A corner of the cube, hit once in 1e17: as good as never.
    corner = raw_channel([1.0] * 10, 0.0, [9.9, 9.95], [-1, 0, 1], (8, 2))
    parts = exact.ei_parts(corner, HERE)
    assert (parts.edges == 0).all()
    assert parts.error_bound == 0.0


def assert_rare(channel):
    """Both the error and its bound within the promise, however little is kept."""
    parts = exact.ei_parts(channel, HERE)
    table = reference.exact_table(channel, 0, 0)
    kept = table.sum() / channel.in_bins
    if kept == pytest.approx(1e-12):  # above counts, below does not
        return parts, kept
    assert parts.error_bound <= BITS
    marginal = exact.output_marginals(channel)[0]
    for input_ in range(channel.n_in):
        table = reference.exact_table(channel, 0, input_)
        error = abs(parts.edges[0, input_] - reference.exact_information(table))
        assert error <= min(BITS, parts.error_bound + 1e-13), (input_, error, kept)
    assert np.abs(marginal - table.mean(axis=0)).max() <= 1e-12 * kept + 1e-15
    return parts, kept


@pytest.mark.parametrize("width", [0.3, 0.03, 1e-3, 1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("row", [[1.0, -0.7, 0.4, 0.9, 0.6], [1.0], [0.5] * 8, [1e6, 1.0, 1e-6]])
def test_rarely_kept_outputs(row, width):
    """What is kept is rare: errors weigh more."""
    bins = (8, 4)
    edges = 0.53 * np.sum(row) + width * np.linspace(-0.5, 0.5, 5) * np.array([1, 1.1, 0, 0.9, 1])
    channel = raw_channel(row, 0.0, edges, [-1, 0, 1, 2, 3, -1], bins)
    assert_rare(channel)


def test_a_sliver_of_a_dominant_weight():
    row = [-0.97247, 0.84338, -0.69586, -903658.055, -0.86219, 0.15875, 0.74578]
    channel = channel_of(row, None, "silu", (2, 8), (0.0, 1.0), (0.0, 1.0), drop=True)
    parts, kept = assert_rare(channel)
    assert kept < 1e-7
    assert parts.edges[0].max() > 0.01


@pytest.mark.parametrize("far", [1e-1, 1e-2, 1e-4])
def test_a_corner_of_the_cube(far):
    """Far outside: every input has to be near its end."""
    row = np.array([1.0, -2.0, 1.5])
    top = 2.5  # greatest sum
    channel = raw_channel(row, 0.0, top - far * np.array([1.0, 0.7, 0.5]), [-1, 0, 1, 2], (8, 3))
    parts, kept = assert_rare(channel)
    assert kept < 1e-3
    # The corner lies in one bin of each.
    assert (parts.edges == 0).all() if far < 1e-2 else parts.edges.max() >= 0


@settings(max_examples=100)
@given(
    st.lists(weights, min_size=1, max_size=8),
    st.lists(st.floats(-1, 1), min_size=2, max_size=8, unique=True),
    st.lists(st.integers(-1, 4), min_size=8, max_size=8),
    st.floats(-10, 0),
    st.one_of(st.floats(-0.5, 0.5), st.sampled_from([-0.5, 0.0, 0.5])),
    bins_,
    ranges,
)
def test_any_sliver(row, places, labels, size, where, bins, in_range):
    """A stretch of any size, anywhere in the support, is kept."""
    lo, hi = in_range
    spread = max(np.abs(row).sum() * (hi - lo), 1e-300)
    middle = 0.5 * (lo + hi) * np.sum(row) + where * spread
    thresholds = np.unique(middle + 10.0**size * spread * np.sort(places))
    labels = [-1, *labels[: len(thresholds) - 1], -1][: len(thresholds) + 1]
    channel = raw_channel(row, 0.0, thresholds, labels, (bins[0], max(bins[1], 5)), in_range)
    assert_rare(channel)


@settings(max_examples=60)
@given(
    st.lists(weights, min_size=1, max_size=8),
    st.floats(1, 9),
    st.floats(-0.6, 0.6),
    st.sampled_from(["sigmoid", "tanh", "relu", "gelu", "silu"]),
    bins_,
    ranges,
)
def test_any_dominated_row(row, power, place, activation, bins, in_range):
    """One weight towers over the others, so that only a sliver of its input keeps z in range."""
    row = [*row[:7], 10.0**power]
    bias = (place - 0.5 * sum(in_range)) * sum(row)
    channel = channel_of(row, [bias], activation, bins, in_range, (0.0, 1.0), drop=True)
    assert_rare(channel)


@pytest.mark.parametrize(("low", "high"), [(3, 5), (0, 2), (6, 8), (2, 7)])
def test_many_inputs_below_a_confined_one(low, high, generator):
    """z is in range only where the widest input is in a few of its bins: the row is like one with
    that part of the input alone."""
    bins, n, giant = 4096 // 8, 40, 1e5
    row = np.r_[giant, generator.normal(size=n)]
    step = giant / bins
    start = 200 * step if low else 0.0
    # All of these bins, but for less than the others' reach.
    reach = np.abs(row[1:]).sum() / 2
    centre = row[1:].sum() / 2
    first, last = start + low * step, start + high * step
    inner = np.linspace(first + 1.5 * reach, last - 1.5 * reach, 4) + centre
    channel = raw_channel(row, 0.0, inner, [-1, 0, 1, 2, -1], (bins, 3))
    got = exact.ei_parts(channel, HERE)
    assert got.error_bound <= BITS
    part = row.copy()
    part[0] = (high - low) * step
    alone = raw_channel(part, 0.0, inner - first, [-1, 0, 1, 2, -1], (high - low, 3))
    wanted = exact.ei_parts(alone, HERE)
    assert got.edges[0, 0] == pytest.approx(wanted.edges[0, 0], abs=2 * BITS)
    share = (high - low) / bins
    assert exact.output_marginals(channel) == pytest.approx(
        exact.output_marginals(alone) * share, rel=1e-9
    )
    many = raw_channel(part, 0.0, inner - first, [-1, 0, 1, 2, -1], (bins, 3))
    wanted = exact.ei_parts(many, HERE)
    assert got.edges[0, 1:] == pytest.approx(wanted.edges[0, 1:], abs=2 * BITS)


def test_reference_against_mpmath():
    """The rational twin itself, against an integral by mpmath at 30 digits."""
    with mpmath.workdps(30):
        a, b, c, t = (mpmath.mpf(v) for v in ("0.7", "1.3", "0.4", "0.25"))

        def given_two(u, v):
            share = (t - a * u - c * v) / b + mpmath.mpf("0.5")
            return min(max(share, mpmath.mpf(0)), mpmath.mpf(1))

        def given_one(u):
            # The integrand bends where it reaches 0 and 1.
            bends = [(t - a * u + s * b / 2) / c for s in (-1, 1)]
            inside = sorted(x for x in bends if abs(x) < 0.5)
            return mpmath.quad(lambda v: given_two(u, v), [-0.5, *inside, 0.5])

        bends = sorted(
            x for s in (-1, 1) for r in (-1, 1) if abs(x := (t + s * b / 2 + r * c / 2) / a) < 0.5
        )
        wanted = mpmath.quad(given_one, [-0.5, *bends, 0.5])
    got = reference.uniform_sum(
        [Fraction(7, 10), Fraction(13, 10), Fraction(0), Fraction(2, 5)],
        [Fraction(1, 4), Fraction(-5), Fraction(5)],
    )
    assert got[0] == pytest.approx(float(wanted), abs=1e-15)
    assert got[1:] == [0.0, 1.0]


# ---- few inputs, by subsets ----------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("bins", [(9, 8), (16, 5), (33, 20)])
def test_rows_of_few_inputs(n, bins, generator):
    """Bins fill several vectors, or leave lanes over; one width is small, and then very small."""
    row = generator.normal(size=n) * 3 / np.sqrt(n)
    for small in (1.0, 1e-2, 1e-5):
        row[-1] *= small
        assert_exact(channel_of(row, [-0.5 * row.sum()], bins=bins), inputs=sorted({0, n - 1}))


@pytest.mark.parametrize("n", [2, 5, 7])
def test_few_inputs_of_any_labels(n, generator):
    """Unions of intervals, some dropped, at both ends or in the middle."""
    row = generator.normal(size=n)
    reach = 0.5 * np.abs(row).sum()
    thresholds = 0.5 * row.sum() + reach * np.array([-0.8, -0.3, -0.1, 0.2, 0.5, 0.9])
    for labels in ([0, 1, 0, 2, 1, 0, 2], [-1, 0, 1, 0, 2, 1, -1], [0, 1, -1, 2, 0, -1, 1]):
        channel = raw_channel(row, 0.0, thresholds, labels, (11, 3))
        assert_exact(channel)
        marginal = exact.output_marginals(channel)[0]
        wanted = reference.exact_table(channel, 0, 0).mean(axis=0)
        assert np.abs(marginal - wanted).max() < 1e-13


# ---- many inputs --------------------------------------------------------------------------------


def assert_series(row, bias, inputs, bins=(8, 8)):
    """Against the reference's plain series."""
    channel = channel_of(row, [bias], bins=bins)
    result = exact.ei_parts(channel, HERE)
    assert result.error_bound <= BITS
    for input_ in inputs:
        wanted = reference.exact_information(reference.exact_table(channel, 0, input_))
        assert abs(result.edges[0, input_] - wanted) < BITS
    return result


@pytest.mark.parametrize("n", [11, 25, 100, 784])
def test_dense_rows(n, generator):
    row = generator.normal(size=n) * 4 / np.sqrt(n)
    order = np.argsort(-np.abs(row))
    assert_series(row, -row.sum() / 2, order[[0, 1, n // 2, n - 1]])
    assert_series(np.full(n, 6 / n), -2.0, [0])


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu"])
@pytest.mark.parametrize("bins", [(8, 8), (7, 20)])
def test_between_widths(activation, bins, generator):
    """Many narrow inputs are interpolated: between their widths, at the ends, next to zero."""
    row = generator.uniform(-0.15, 0.15, size=400)
    row[:3] = 1e-3, 1e-7, 0.0
    channel = channel_of(row, [0.3 - row.sum() / 2], activation, bins, drop=activation == "gelu")
    result = exact.ei_parts(channel, HERE)
    assert 0 < result.error_bound <= BITS
    order = np.argsort(np.abs(row))
    for input_ in (*order[:3], *order[3:-1:80], order[-1]):
        wanted = reference.exact_information(reference.exact_table(channel, 0, input_))
        assert abs(result.edges[0, input_] - wanted) <= min(BITS, result.error_bound + 1e-13)
    small = result.edges[0, 0]
    assert 0 < small < 1e-3 * result.edges.max()
    assert result.edges[0, 1] == pytest.approx(1e-8 * small, rel=1e-3)
    assert result.edges[0, 2] == 0.0
    curve = result.edges[0, order[1:]] / row[order[1:]] ** 2
    assert (np.diff(result.edges[0, order]) >= 0).all()
    assert np.ptp(curve[1:]) < 0.2 * curve.max()


@pytest.mark.parametrize("giants", [1, 2, 3])
@pytest.mark.parametrize("ratio", [2.0, 20.0, 300.0])
def test_giants_above_many(giants, ratio, generator):
    """The hard case: the series of such a row converges slowly."""
    row = generator.normal(size=300)
    row[:giants] = ratio * np.sqrt(300) * np.array([1.0, 0.6, 1.7])[:giants]
    row *= 4 / np.abs(row).sum()
    assert_series(row, -row.sum() / 2 + 0.1, [0, giants - 1, giants, 200])


def test_sparse_and_heavy_tailed_rows(generator):
    sparse = generator.normal(size=400) * (generator.random(400) < 0.05)
    some = np.flatnonzero(sparse)
    assert_series(sparse, -sparse.sum() / 2, [*some[:2], int(np.argmax(sparse == 0))])
    heavy = generator.standard_t(1.2, size=200)
    heavy *= 6 / np.abs(heavy).sum()
    assert_series(heavy, -heavy.sum() / 2, np.argsort(-np.abs(heavy))[[0, 1, 2, 50]])


def test_a_giant_above_ten_thousand_dwarfs(generator):
    """Too steep for any plain series: the dwarfs are a small, nearly normal blur of the giant's
    edges, and mpmath integrates that."""
    n, blur = 10_000, 1e-7
    row = np.full(n + 1, blur * np.sqrt(12 / n))
    row[0] = 1.0
    channel = raw_channel(row, -0.5 * row.sum(), [-0.5, 0.1, 0.3], [0, 1, 2, 3], (8, 4))
    result = exact.ei_parts(channel, HERE)
    assert result.error_bound <= BITS
    # P(z < -1/2) = E (-s)^+ with s normal to within Edgeworth's 1/n: blur / sqrt(2 pi).
    marginal = exact.output_marginals(channel)[0]
    assert marginal[0] == pytest.approx(blur / np.sqrt(2 * np.pi), rel=1e-4)
    assert marginal[1:] == pytest.approx([0.6, 0.2, 0.2], abs=1e-7)
    assert result.edges[0, 1:].min() >= 0
    assert result.edges[0, 1:].max() < 1e-9
    # The giant alone decides but where a bin of it straddles a threshold.
    alone = exact.ei_parts(raw_channel([1.0], [-0.5], [0.1, 0.3], [0, 1, 2], (8, 3)), HERE)
    assert result.edges[0, 0] == pytest.approx(alone.edges[0, 0], abs=1e-5)


# ---- against the sampled engine -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "activation", "drop"),
    [(4, "sigmoid", False), (25, "tanh", False), (100, "relu", False), (25, "gelu", True)],
)
def test_inside_the_sampled_interval(n, activation, drop, generator):
    rows = max(8, 2000 // n)
    weight = generator.normal(size=(rows, n)) * 3 / np.sqrt(n)
    bias = generator.normal(size=rows)
    in_range = (-1.0, 1.0)
    channel = channel_of(weight, bias, activation, (8, 8), in_range, drop=drop)
    truth = exact.ei_parts(channel, HERE)
    sampled = pairwise.ei_parts(channel, Sampling(1, samples=50_000), HERE)
    off = np.abs(sampled.edges - truth.edges)
    # Stated: 95 % within 1.96 standard errors. Edges of one row share samples: allow for it.
    assert (off <= 1.96 * sampled.edges_stderr).mean() > 0.92
    assert (off <= 5 * sampled.edges_stderr).mean() > 0.999
    assert sampled.outlier_fraction == pytest.approx(truth.outlier_fraction, abs=0.01)
    # What is left of the bias after the correction adds up over edges: allow a fifth of it.
    total = sampled.edges.sum() - truth.edges.sum()
    removed = sampled.edges_plugin.sum() - sampled.edges.sum()
    assert abs(total) <= 4 * sampled.stderr + 0.2 * removed

    alone, single = exact.sensitivity(channel, HERE), None
    single = pairwise.sensitivity(channel, Sampling(2, samples=50_000), HERE)
    off = np.abs(single.edges - alone.edges)
    assert (off <= 1.96 * single.edges_stderr + 1e-12).mean() > 0.92
    assert single.outlier_fraction == pytest.approx(alone.outlier_fraction, abs=0.01)


@pytest.mark.slow
def test_inside_the_sampled_interval_at_784(generator):
    weight = generator.normal(size=(4, 784)) * 0.15
    channel = channel_of(weight, -weight.sum(axis=1) / 2)
    truth = exact.ei_parts(channel, HERE)
    sampled = pairwise.ei_parts(channel, Sampling(3, samples=400_000), HERE)
    off = np.abs(sampled.edges - truth.edges)
    assert (off <= 1.96 * sampled.edges_stderr).mean() > 0.92


# ---- invariances --------------------------------------------------------------------------------

EQUAL = 1e-10


@pytest.mark.parametrize("n", [3, 8, 40, 300])
def test_invariances(n, generator):
    weight = generator.normal(size=(3, n)) * 2 / np.sqrt(n)
    bias = generator.normal(size=3)
    in_range = (-1.0, 1.0)

    def both(w, b, **options):
        channel = channel_of(w, b, "tanh", in_range=options.pop("in_range", in_range), **options)
        return np.stack(
            [exact.ei_parts(channel, HERE).edges, exact.sensitivity(channel, HERE).edges]
        )

    plain = both(weight, bias)
    order = generator.permutation(n)
    assert np.abs(both(weight[:, order], bias) - plain[:, :, order]).max() < EQUAL
    signs = generator.choice([-1.0, 1.0], n)
    assert np.abs(both(weight * signs, bias) - plain).max() < EQUAL
    assert np.abs(both(weight / 8, bias, in_range=(-8.0, 8.0)) - plain).max() < EQUAL
    assert np.abs(both(weight / 3, bias, in_range=(-3.0, 3.0)) - plain).max() < EQUAL
    more = both(np.c_[weight, np.zeros(3)], bias)
    assert np.abs(more[:, :, :n] - plain).max() < EQUAL
    assert (more[:, :, n] == 0).all()
    # Moving the range and the bias together: with every input perturbed nothing changes.
    moved = both(weight, bias - 5 * weight.sum(axis=1), in_range=(4.0, 6.0))
    assert np.abs(moved[0] - plain[0]).max() < EQUAL


def test_only_the_size_of_a_weight_counts():
    edges = exact.ei_parts(channel_of([1.0, -1.0, 0.3, 1.0, 0.3], [-0.7]), HERE).edges[0]
    assert edges[[1, 3]] == pytest.approx(edges[0], abs=1e-13)
    assert edges[4] == pytest.approx(edges[2], abs=1e-13)


def test_inputs_are_left_alone(generator):
    weight = generator.normal(size=(2, 30))
    channel = channel_of(weight)
    before = channel.weight.copy()
    exact.ei_parts(channel, HERE)
    exact.sensitivity(channel, HERE)
    assert (channel.weight == before).all()


# ---- ranges -------------------------------------------------------------------------------------


def test_a_hundred_thousand_layers(generator):
    """Rows are layers of one output each."""
    rows = 500
    for case in range(200):
        n = int(generator.integers(1, 12))
        bins = tuple(int(b) for b in generator.integers(2, 10, 2))
        weight = generator.normal(size=(rows, n)) * 10.0 ** generator.uniform(-8, 4, (rows, 1))
        if case % 4 == 1:
            weight *= 10.0 ** generator.integers(-9, 3, (rows, n))
        elif case % 4 == 2:
            weight = np.round(weight) * (generator.random((rows, n)) < 0.4)
        bias = generator.normal(size=rows) * 10.0 ** generator.uniform(-2, 3, rows)
        activation = ["sigmoid", "relu", "gelu", "tanh"][case % 7 % 4]
        channel = channel_of(weight, bias, activation, bins, (-1.0, 1.0), drop=case % 5 == 0)
        for result in (exact.ei_parts(channel, HERE), exact.sensitivity(channel, HERE)):
            assert np.isfinite(result.edges).all()
            assert (result.edges >= 0).all()
            assert (result.edges <= np.log2(min(bins))).all()
            assert np.isfinite(result.error_bound)
            assert 0 <= result.outlier_fraction <= 1
            if not channel.drops:
                assert result.error_bound <= BITS


def test_thresholds_that_no_input_reaches(generator):
    """Sensitivity leaves them out: one by one, and all together, what is left is the same."""
    thresholds = np.array([-3.0, -0.9, -0.2, 0.1, 0.4, 2.5, 7.0])
    for labels in (range(8), [-1, 0, 1, 2, 3, 4, 5, -1], [-1, -1, -1, 0, 1, -1, -1, -1]):
        for bias in (0.0, -1.2, 2.4, 30.0, -30.0):
            for size in (0.05, 0.6, 4.0):
                row = generator.normal(size=3) * size
                channel = raw_channel(row, bias, thresholds, list(labels), (8, 8), (-1.0, 1.0))
                alone = exact.sensitivity(channel, HERE)
                for input_ in range(3):
                    table = reference.exact_single_table(channel, 0, input_)
                    wanted = reference.exact_information(table)
                    assert abs(alone.edges[0, input_] - wanted) <= BITS


def test_far_thresholds_and_constant_rows():
    for bias in (1e3, -1e3, 1e12, 1e140):
        parts, alone = assert_exact(channel_of([1.0, -2.0, 0.5], [bias]))
        assert (parts.edges == 0).all()
        assert (alone.edges == 0).all()
    weight = np.array([[0.0, 0.0], [1.0, 0.0]])
    marginal = exact.output_marginals(channel_of(weight, [0.0, 0.0]))
    # sigmoid(0) = 1/2 is the lower edge of bin 4
    assert marginal[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    assert marginal[1].sum() == pytest.approx(1, abs=1e-12)


# ---- marginals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 4, 30, 500])
def test_output_marginals(n, generator):
    weight = generator.normal(size=(3, n)) * 5 / np.sqrt(n)
    channel = channel_of(weight, bins=(8, 16))
    marginal = exact.output_marginals(channel)
    assert marginal.shape == (3, 16)
    assert marginal.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-12)
    assert (marginal >= 0).all()
    for output in range(3):
        wanted = reference.exact_table(channel, output, 0).mean(axis=0)
        assert np.abs(marginal[output] - wanted).max() < 1e-12
    assert (exact.output_marginals(channel, Runner(threads=2)) == marginal).all()


# ---- the machine's part -------------------------------------------------------------------------


def cases(generator):
    heavy = generator.standard_t(1.1, size=(6, 40))
    giants = generator.normal(size=(6, 60))
    giants[:, 0] = 1e4
    yield channel_of(generator.normal(size=(9, 300)) * 0.2, bins=(8, 8))
    yield channel_of(generator.normal(size=(5, 90)) * 0.5, bins=(7, 30))
    yield channel_of(heavy, activation="gelu", in_range=(-1.0, 1.0))
    yield channel_of(giants, np.full(6, -5e3), bins=(4, 9))
    yield channel_of(generator.normal(size=(6, 3)), bins=(16, 16))
    yield channel_of(
        generator.normal(size=(6, 20)), activation="identity", out_range=(-1.0, 1.0), drop=True
    )
    for n in range(1, 8):
        yield channel_of(generator.normal(size=(6, n)) * 2, bins=(9, 12))
    narrow = generator.uniform(-0.1, 0.1, size=(6, 500))
    yield channel_of(narrow, -0.5 * narrow.sum(axis=1), "relu", bins=(8, 12))
    # Rarely kept: few inputs; many and a confined one.
    rare = np.array([-0.5, -0.49999999, -0.49999997])
    yield raw_channel(generator.normal(size=(4, 6)), np.zeros(4), rare, [-1, 0, 1, -1], (8, 2))
    giants = generator.normal(size=(5, 40))
    giants[:, 1] = 1e6
    thresholds = 5e5 + np.array([-1.0, 0.0, 2.0])
    yield raw_channel(giants, np.zeros(5), thresholds, [-1, 0, 1, -1], (8, 2))
    yield channel_of(generator.normal(size=(2, 100)) * 0.3, bins=(1024, 64), baseline=0.5)


def test_every_instruction_set_gives_the_same_bits(generator):
    before = _core.active()
    try:
        for channel in cases(generator):
            seen = []
            for name in _core.supported():
                _core.select(name)
                seen.append((exact.ei_parts(channel, HERE), exact.sensitivity(channel, HERE)))
            for parts, alone in seen[1:]:
                assert (parts.edges == seen[0][0].edges).all()
                assert (alone.edges == seen[0][1].edges).all()
                assert parts.error_bound == seen[0][0].error_bound
    finally:
        _core.select(before)


def test_every_instruction_set_is_exact(instruction_set):
    assert_exact(channel_of([0.3, -2.0, 1.0, 0.7], [0.2]))
    assert_exact(channel_of([0.3, -2.0, 1.0], [0.2], "gelu"))
    assert_exact(channel_of([0.4, 0.5, -0.45, 0.3, 0.6, 0.5, 0.4, 0.3], bins=(5, 9)))


def test_the_cut_never_shows(generator):
    for channel in cases(generator):
        one = exact.ei_parts(channel, HERE), exact.sensitivity(channel, HERE)
        for threads in (2, 5):
            runner = Runner(threads=threads)
            many = exact.ei_parts(channel, runner), exact.sensitivity(channel, runner)
            for a, b in zip(one, many, strict=True):
                assert (a.edges == b.edges).all()
                assert a.error_bound == b.error_bound
                assert a.outlier_fraction == pytest.approx(b.outlier_fraction, abs=1e-15)
        row = exact.ei_parts(channel.rows(1, 2), HERE)
        assert (row.edges == one[0].edges[1:2]).all()
    with ThreadPoolExecutor(2) as pool:
        brought = exact.ei_parts(channel, Runner(executor=pool))
    assert (brought.edges == one[0].edges).all()


def test_cancelling_stops_it():
    channel = channel_of(np.ones((4, 50)))
    cancel_flag()[0] = 1
    try:
        with pytest.raises(KeyboardInterrupt):
            exact.ei_parts(channel, HERE)
        with pytest.raises(KeyboardInterrupt):
            exact.sensitivity(channel, HERE)
    finally:
        cancel_flag()[0] = 0


def test_several_layers_at_once_are_refused():
    layer = Layer(np.eye(2))
    channel = discretize(layer, Binning(), (0.0, 1.0), (0.0, 1.0))
    from dataclasses import replace

    from eiplane.network import Stage

    through = replace(channel, stages=(Stage(2, 2, np.eye(2), np.zeros(2), layer.activation),))
    assert exact.applies(channel)
    assert not exact.applies(through)
    with pytest.raises(ValueError, match="several layers"):
        exact.ei_parts(through, HERE)


def test_non_monotone_bins_are_unions():
    """GELU dips: an output bin is two intervals, and the table joins them."""
    from eiplane.network import get_activation

    thresholds, labels, *_ = preimages(
        get_activation("gelu").pieces, np.linspace(-0.17, 0.5, 9), False
    )
    assert len(set(labels.tolist())) < len(labels)
    channel = raw_channel([2.0, 1.0], -1.0, thresholds, labels, (16, 8), (-1.0, 1.0))
    assert_exact(channel)


def test_analyze_takes_it_where_it_applies(generator):
    weight = generator.normal(size=(4, 6))
    layer = analyze([weight], measures="degeneracy")[0]
    assert layer.method == "exact"
    assert 0 < layer.error_bound <= BITS
    channel = channel_of(weight)
    assert (layer.ei_edges == exact.ei_parts(channel, HERE).edges).all()
    assert (layer.sensitivity_edges == exact.sensitivity(channel, HERE).edges).all()
    assert analyze([weight], measures="ei_parts", method="exact")[0].method == "exact"
    assert analyze([weight], measures="ei_parts", method="sample")[0].method == "sample"


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", ">f4"])
def test_large_narrow_layers_are_widened_by_rows(dtype, generator, monkeypatch):
    """The same digits as from float64, however much of the weights is widened at a time."""
    monkeypatch.setattr("eiplane.network.channel._LARGE", 1)
    weight = np.rint(generator.normal(size=(7, 5)) * 20).astype(dtype)
    bias = generator.normal(size=7).astype("f4")
    options = {"in_range": (-1, 1), "samples": 64, "bins": 3, "progress": False, "threads": 1}
    for activation in ("relu", "tanh"):
        for measures in (("sensitivity", "ei_parts"), ("bounds", "ei_parts"), "ei"):
            for method in ("exact", "sample"):
                got = analyze(
                    (weight, bias), activation, measures=measures, method=method, **options
                )
                want = analyze(
                    (weight.astype(float), bias), activation, measures=measures, method=method,
                    **options,
                )  # fmt: skip
                assert got.to_json() == want.to_json()
    with ThreadPoolExecutor(2) as pool:
        away = analyze((weight, bias), "relu", measures="ei_parts", executor=pool, **options)[0]
    here = analyze((weight.astype(float), bias), "relu", measures="ei_parts", **options)[0]
    np.testing.assert_array_equal(away.ei_edges, here.ei_edges)


def test_memory_beside_a_large_result(generator):
    """A layer in float32 takes its results and little beside: no copy in float64."""
    weight = generator.random((512, 2048), dtype=np.float32) / 64
    tracemalloc.start()
    try:
        layer = analyze(weight, "relu", measures="ei_parts", threads=1, progress=False)[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert layer.ei_edges.nbytes == 8 << 20
    assert peak < layer.ei_edges.nbytes + (3 << 20)
