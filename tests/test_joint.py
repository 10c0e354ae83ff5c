"""The joint engine: kernels against their twins, layers whose EI is known, honest errors."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import eiplane
from eiplane import _core, reference
from eiplane.joint import JointOptions, SaturationWarning, joint
from eiplane.joint.bounds import lower_bound, upper_bound
from eiplane.joint.cells import Cells, CellUnit, Group, cell_unit, design, octave_gains
from eiplane.joint.engine import measure
from eiplane.joint.exact import exact_single
from eiplane.joint.pieces import by_group, connected
from eiplane.joint.shards import SharedCounter
from eiplane.joint.task import Target
from eiplane.joint.vectors import Counter, CountJob, rows_of, unpack
from eiplane.network import Binning, Layer, Rule, Stage, discretize, get_activation, per_row
from eiplane.run import Runner, Sampling

SIX = np.random.default_rng(6).uniform(-5, 5, (6, 6)) / np.sqrt(6)


def channel_of(weight, bins=8, activation="sigmoid", out_range=(0, 1), drop=False, bias=None):
    layer = Layer(np.asarray(weight, dtype=float), bias, activation, "made")
    bins = (bins, bins) if isinstance(bins, int) else bins
    return discretize(layer, Binning(*bins, drop), (0.0, 1.0), out_range)


def ei(channel, seed=0, samples=None, tol=None, estimator="conditional", threads=1, **options):
    options = JointOptions(estimator, influence=False, **options)
    return joint(channel, Sampling(seed, samples=samples, tol=tol), options, Runner(threads))


def silently(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return function(*args, **options)


def entropy_of(values):
    p = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(p * np.log2(p)).sum())


def brute_force(channel, points):
    """Return the EI of a small layer from a dense grid: `points` to a bin and input."""
    n, bins = channel.n_in, channel.in_bins
    axis = channel.in_lo + (np.arange(bins * points) + 0.5) / (bins * points) * (
        channel.in_hi - channel.in_lo
    )
    grids = np.meshgrid(*[axis] * n, indexing="ij")
    cells = np.meshgrid(*[np.arange(bins * points) // points] * n, indexing="ij")
    x = np.zeros(grids[0].size, np.int64)
    y = np.zeros(grids[0].size, np.int64)
    kept = np.ones(grids[0].size, bool)
    for row, bias in zip(channel.weight, channel.bias, strict=True):
        z = bias + sum(w * g for w, g in zip(row, grids, strict=True))
        label = channel.rules[0].bins_of(z.ravel())
        kept &= label >= 0
        y = y * channel.out_bins + label
    for cell in cells:
        x = x * bins + cell.ravel()
    x, y = x[kept], y[kept]
    return entropy_of(x) + entropy_of(y) - entropy_of(x * channel.out_bins**channel.n_out + y)


# ---- kernels ------------------------------------------------------------------------------------


def counted(channel, key, samples, threads=1, memory=1 << 28, first_stop=None):
    inputs, outputs = rows_of(channel, None, ()), rows_of(channel, (), None)
    job = CountJob(key, 0, 0, 0, (inputs, outputs), ((0, 1),), True)
    counter = Counter(channel, job, Runner(threads), memory)
    if first_stop:
        counter.extend(first_stop)
    counter.extend(samples)
    return counter.result()


def as_dict(entries, bins):
    labels = unpack(entries[:, :-1], bins)
    return {tuple(map(int, v)): int(n) for v, n in zip(labels.T, entries[:, -1], strict=True)}


CASES = {
    "dense": channel_of(SIX[:2, :2]),
    "six": channel_of(SIX),
    "odd bins": channel_of(SIX[:3, :4], bins=(5, 11)),
    "several words": channel_of(np.tile(SIX, (2, 5))[:11, :28], bins=(64, 256)),
    "drop": channel_of(SIX[:3, :3] * 0.5, activation="identity", out_range=(-0.5, 1), drop=True),
    "rows": channel_of(SIX[:4, :3], activation=per_row(["relu", "sin", "sigmoid", "sign"])),
    "rows drop": channel_of(
        SIX[:3, :3], activation=per_row(["relu", "sin", "leaky_relu(0.2)"]), drop=True
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_counts_are_those_of_the_twin(name, instruction_set):
    channel, samples = CASES[name], 3000
    got = counted(channel, 11, samples)
    x, y = reference.joint_bins(channel, 11, 0, samples)
    kept = (y >= 0).all(axis=0)
    x, y = x[:, kept], y[:, kept]
    assert got.kept == kept.sum()
    assert got.samples == samples
    for entries, bins, size, number in (
        (got.sets[0], x, channel.in_bins, channel.n_in),
        (got.sets[1], y, channel.out_bins, channel.n_out),
    ):
        assert as_dict(entries, [size] * number) == reference.count_vectors(bins)
    ins = unpack(got.sets[0][:, :-1], [channel.in_bins] * channel.n_in)
    outs = unpack(got.sets[1][:, :-1], [channel.out_bins] * channel.n_out)
    pair = got.pairs[0]
    both = np.vstack(
        [ins[:, pair[:, 0] >> np.uint64(32)], outs[:, pair[:, 0] & np.uint64(2**32 - 1)]]
    )
    found = {tuple(map(int, v)): int(n) for v, n in zip(both.T, pair[:, 1], strict=True)}
    assert found == reference.count_vectors(np.vstack([x, y]))
    margins = np.array([np.bincount(row, minlength=channel.out_bins) for row in y])
    np.testing.assert_array_equal(got.margins, margins)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_counts_do_not_depend_on_the_cut(threads):
    channel, samples = CASES["six"], 100_000
    whole = counted(channel, 3, samples)
    for cut in (counted(channel, 3, samples, threads),
                counted(channel, 3, samples, threads, 1 << 24, 64 * 700)):  # fmt: skip
        for a, b in zip(whole.sets, cut.sets, strict=True):
            bins = [8] * 6
            assert as_dict(a, bins) == as_dict(b, bins)
        assert sorted(whole.pairs[0][:, 1]) == sorted(cut.pairs[0][:, 1])
        np.testing.assert_array_equal(whole.margins, cut.margins)
        assert whole.of_pair(0).total == cut.of_pair(0).total == samples


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("name", ["six", "drop", "several words"])
def test_shards_are_a_whole(name, workers, monkeypatch):
    """Threads that share out the vectors find what one finds, in some order; and can go on."""
    monkeypatch.setattr("eiplane.joint.shards._DRAWN", 64 * 300)
    monkeypatch.setattr("eiplane.joint.shards._BATCH", 64 * 450)
    channel, samples = CASES[name], 40_000
    inputs, outputs = rows_of(channel, None, ()), rows_of(channel, (), None)
    job = CountJob(3, 0, 0, 0, (outputs, inputs), ((1, 0),), True)
    one, many = Counter(channel, job, Runner(1)), SharedCounter(channel, job, Runner(workers))
    for size in (samples, samples + 6400):
        one.extend(size)
        many.extend(size)
        whole, shards = one.result(), many.result()
        assert (shards.kept, shards.outside) == (whole.kept, whole.outside)
        assert shards.samples == whole.samples == size
        np.testing.assert_array_equal(shards.margins, whole.margins)
        told = [_told(found, channel) for found in (whole, shards)]
        assert told[0] == told[1]
        assert len(told[0]) > 1000


def test_shards_where_memory_is_short():
    """Pairs are counted a block at a time then; and what is beyond the limit is said to be."""
    channel = CASES["six"]
    inputs, outputs = rows_of(channel, None, ()), rows_of(channel, (), None)
    job = CountJob(3, 0, 0, 0, (outputs, inputs), ((1, 0),), True)
    one = Counter(channel, job, Runner(1))
    one.extend(64 * 1500)
    told, enough = _told(one.result(), channel), []
    for limit in range(3, 33, 3):  # with the last of those that do, next to nothing is left
        many = SharedCounter(channel, job, Runner(2), limit << 20)
        try:
            many.extend(64 * 1500)
        except MemoryError as error:
            assert f"limit of {limit} MiB" in str(error) and "memory_limit" in str(error)
            continue
        assert _told(many.result(), channel) == told
        enough.append(limit)
    assert enough == list(range(enough[0], 33, 3))
    assert 3 < enough[0] < 30


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.parametrize("outliers", ["clip", "drop"])
def test_the_plugin_does_not_depend_on_threads(outliers):
    weight = np.random.default_rng(5).uniform(-2, 2, (4, 3))
    found = [
        eiplane.analyze(
            eiplane.Layer(weight, activation="relu"), measures="ei", estimator="plugin",
            out_range=(0, 2.5), outliers=outliers, threads=threads, **options,
        )[0]
        for options in ({"samples": 50_000}, {"samples": 300_000, "tol": 1e-3})
        for threads in (1, 2, 5)
    ]  # fmt: skip
    for alike in (found[:3], found[3:]):
        for layer in alike[1:]:
            for name in ("ei", "ei_stderr", "output_entropy", "ei_bounds", "outlier_fraction"):
                assert getattr(layer, name) == getattr(alike[0], name), name
            np.testing.assert_array_equal(layer.influence_in, alike[0].influence_in)
    assert found[3].joint.samples > found[0].joint.samples


def _told(found, channel):
    """Every pair of vectors, by its bins, and how often it and its two vectors occurred."""
    sizes = [channel.out_bins] * channel.n_out, [channel.in_bins] * channel.n_in
    outs, ins = (unpack(s[:, :-1], b) for s, b in zip(found.sets, sizes, strict=True))
    pair, number = found.pairs[0].T
    x, y = pair >> np.uint64(32), pair & np.uint64(0xFFFFFFFF)
    rows = np.vstack([ins[:, x], outs[:, y], number, found.sets[1][x, -1], found.sets[0][y, -1]])
    return set(map(tuple, rows.T.tolist()))


def test_counts_far_apart_are_kept_apart():
    """Vectors that differ in one word alone, and hashes that meet in a table of few slots."""
    budget = _core.Budget(1 << 26)
    counter = _core.Counter(3, 64, budget)
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 3, (20_000, 3)).astype(np.uint64) << np.uint64(62)
    ids = counter.add(keys, np.ones(len(keys), np.uint64))
    entries = counter.entries()
    assert len(counter) == len(np.unique(keys, axis=0)) == 27
    np.testing.assert_array_equal(entries[ids, :3], keys)
    assert entries[:, 3].sum() == len(keys)
    many = np.arange(200_000, dtype=np.uint64)[:, None] * np.ones(3, np.uint64)
    counter.add(many, np.full(len(many), 2, np.uint64))
    assert len(counter) == 27 + len(many) - 1  # (0, 0, 0) was there


def test_memory_limit():
    channel = channel_of(np.ones((4, 25)))
    with pytest.raises(MemoryError, match=r"made.*limit of 8 MiB.*fewer samples"):
        counted(channel, 0, 400_000, memory=8 << 20)
    assert counted(channel, 0, 400_000, memory=256 << 20).samples == 400_000
    with pytest.raises(MemoryError, match="memory_limit"):
        eiplane.analyze(
            np.ones((4, 25)), measures="ei", estimator="plugin", samples=400_000,
            memory_limit=8 << 20,
        )  # fmt: skip


@pytest.mark.parametrize("draws", [32, 64, 128])
def test_octaves_are_those_of_the_twin(draws):
    values = reference.octave_values(draws)
    np.testing.assert_allclose(octave_gains(draws), np.diff(values, axis=1), atol=1e-12)
    # All octaves together: n / K (psi(K) - psi(n)).
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, draws))])
    n = np.arange(1, draws + 1)
    total = n / draws * (harmonic[draws - 1] - harmonic[n - 1]) / np.log(2)
    np.testing.assert_allclose(values.sum(axis=0)[1:], total, atol=1e-12)


@pytest.mark.parametrize("name", ["dense", "six", "odd bins", "rows"])
@pytest.mark.parametrize("draws", [32, 64, 1024])
def test_cells_are_those_of_the_twin(name, draws, instruction_set):
    channel = CASES[name]
    given = tuple(range(channel.n_in - 1)) if name == "six" else tuple(range(channel.n_in))
    outputs = rows_of(channel, (), None)
    group = Group(draws, 70, 1)
    cells = Cells(9, 40, given, outputs)
    units = [CellUnit(channel, cells, group, 0, a, n, True) for a, n in ((0, 64), (64, 6))]
    drawn = [cell_unit(u) for u in units]
    whole, parts, each = (
        np.concatenate([getattr(d, what) for d in drawn]) for what in ("whole", "parts", "each")
    )
    np.testing.assert_allclose(each.sum(axis=2), parts, atol=1e-10)
    if draws > 64:
        return  # the twin is slow
    for cell in (0, 1, 37, 63, 64, 69):
        a, b, singles = reference.cell_octaves(channel, 9, 40, cell, draws, list(given), [given[0]])
        np.testing.assert_allclose(whole[cell], a, atol=1e-10)
        np.testing.assert_allclose(parts[cell], b, atol=1e-10)
        assert np.concatenate([d.singles for d in drawn])[cell] == singles
    assert sum(d.spent for d in drawn) == 70 * draws


def test_cells_bits_do_not_depend_on_the_instruction_set():
    channel = CASES["six"]
    cells = Cells(5, 16, tuple(range(6)), rows_of(channel, (), None))
    unit = CellUnit(channel, cells, Group(128, 64, 2), 1, 0, 64, False)
    before, found = _core.active(), []
    for name in _core.supported():
        _core.select(name)
        found.append(cell_unit(unit))
    _core.select(before)
    for drawn in found[1:]:
        np.testing.assert_array_equal(found[0].whole, drawn.whole)
        np.testing.assert_array_equal(found[0].parts, drawn.parts)


def test_cells_with_drops_keep_only_what_is_inside():
    channel = CASES["drop"]
    cells = Cells(2, 16, (0, 1, 2), rows_of(channel, (), None))
    drawn = cell_unit(CellUnit(channel, cells, Group(32, 256, 0), 0, 0, 256, False))
    _, y = reference.joint_bins(channel, 2, 0, 256, 16)
    np.testing.assert_array_equal(drawn.ok, (y >= 0).all(axis=0))  # the cell's own draw is kept
    assert 0 < drawn.ok.sum() < 256
    assert (drawn.whole[~drawn.ok] == 0).all()
    assert drawn.spent > 32 * drawn.ok.sum()


def test_designs_spend_what_they_may():
    for budget in (0, 100, 5000, 10**5, 10**6, 10**8):
        plan = design(budget, 8, 6)
        assert plan.cost <= max(budget, 64)
        for group in plan.groups:
            assert group.cells % 8**group.strata == 0
            assert group.cells >= 2 * 8**group.strata


# ---- layers whose EI is known -------------------------------------------------------------------

BOTH = pytest.mark.parametrize("estimator", ["conditional", "plugin"])


def close(result, truth, slack=1e-9):
    return abs(result.ei - truth) <= 4 * result.ei_stderr + slack


def contains(result, truth, slack=1e-9):
    low, high = result.ei_bounds
    return low - slack <= truth <= high + slack


@BOTH
@pytest.mark.parametrize(("k", "bins"), [(2, 8), (3, 4), (2, 16)])
def test_permutations(estimator, k, bins):
    weight = np.eye(k)[np.random.default_rng(k).permutation(k)]
    result = ei(channel_of(weight, bins, "identity"), samples=200_000, estimator=estimator)
    truth = k * math.log2(bins)
    assert close(result, truth)
    assert contains(result, truth)
    assert abs(result.ei - truth) < 0.01


def test_permutations_of_any_width_are_exact():
    weight = np.eye(300)[np.random.default_rng(0).permutation(300)]
    result = ei(channel_of(weight, 8, "identity"))
    assert result.ei == pytest.approx(900.0, abs=1e-9)
    assert result.ei_stderr == 0.0
    assert result.ei_bounds == pytest.approx((900.0, 900.0))
    assert not result.saturated
    assert result.samples == 0


@BOTH
def test_no_information(estimator):
    result = ei(channel_of(np.zeros((3, 3))), samples=100_000, estimator=estimator)
    assert close(result, 0.0)
    assert result.ei < 0.01
    assert contains(result, 0.0)
    tiny = ei(channel_of(np.full((2, 2), 1e-6)), samples=100_000, estimator=estimator)
    assert close(tiny, 0.0)


@BOTH
def test_copies_of_outputs_change_nothing(estimator):
    weight = SIX[:2, :2]
    once = channel_of(weight)
    twice = channel_of(np.vstack([weight, weight[:1], weight]))
    for channel in (once, twice):
        truth = brute_force(channel, 150)
        result = ei(channel, samples=200_000, estimator=estimator)
        assert abs(result.ei - truth) < 4 * result.ei_stderr + 5e-4
    one, two = (
        eiplane.analyze(c, samples=200_000, estimator=estimator)[0]
        for c in (weight, np.vstack([weight, weight[:1], weight]))
    )
    error = 4 * math.hypot(one.ei_stderr, two.ei_stderr)
    assert abs(one.ei - two.ei) < error
    # phi falls by what the copies add to the parts, and by no more.
    added = np.vstack([one.ei_edges[:1], one.ei_edges]).sum()
    assert abs((one.phi - two.phi) - added) < error + 1e-6
    assert two.ei_bounds[1] <= one.ei_bounds[1] + 1e-9  # copies count once in the bounds as well


@BOTH
def test_synergy(estimator):
    """Exclusive or of two bits: y = [x_1 + x_2 mod 2], by a hat of the pre-activation."""
    hat = channel_of([[1.0, 1.0]], (2, 2), "identity")
    # Of z = x_1 + x_2 in (0, 2): with two bins, (0.75, 1.25) is 0 or 1 as often; what is left is
    # nearly the exclusive or of the halves.
    hat = replace(
        hat,
        rules=(Rule(np.array([0.5, 1.5]), np.array([0, 1, 0], np.int32)),),
    )
    truth = brute_force(hat, 400)
    result = ei(hat, samples=200_000, estimator=estimator)
    assert abs(result.ei - truth) < 4 * result.ei_stderr + 1e-3
    from eiplane.pairwise import exact

    parts = exact.ei_parts(hat, Runner(1)).total
    assert parts < 1e-9  # each input alone says nothing, by symmetry
    assert result.ei - parts > 0.3
    assert contains(result, truth, 1e-4)  # the grid's error


def test_one_input_is_exact():
    rng = np.random.default_rng(4)
    channel = channel_of(rng.normal(size=(5, 1)) * 4, 16, bias=rng.normal(size=5))
    result = ei(channel)
    assert result.ei_stderr == 0.0
    assert result.ei == pytest.approx(brute_force(channel, 20_000), abs=1e-3)
    dropped = channel_of([[1.5], [-1.0]], 8, "identity", (-0.5, 1.0), True)
    assert ei(dropped).ei == pytest.approx(brute_force(dropped, 20_000), abs=1e-3)


def test_one_output_is_exact():
    channel = channel_of(SIX[:1, :3])
    result = joint(channel, Sampling(0), JointOptions(), Runner(1))
    assert result.ei_stderr == 0.0
    truth = brute_force(channel, 20)
    assert result.ei == pytest.approx(truth, abs=2e-3)
    assert result.influence_out[0] == result.ei
    sampled = ei(channel, samples=400_000, estimator="plugin")
    assert close(sampled, result.ei)


def test_pieces_add_up():
    a, b = SIX[:2, :2], SIX[2:4, 2:5]
    block = np.zeros((4, 5))
    block[:2, :2], block[2:, 2:] = a, b
    order = np.random.default_rng(1).permutation(5)
    whole = ei(channel_of(block[:, order]), samples=300_000)
    parts = [ei(channel_of(w), samples=150_000) for w in (a, b)]
    total = sum(p.ei for p in parts)
    error = math.hypot(whole.ei_stderr, math.hypot(*(p.ei_stderr for p in parts)))
    assert abs(whole.ei - total) < 4 * error
    assert whole.ei_bounds[1] == pytest.approx(sum(p.ei_bounds[1] for p in parts), abs=1e-6)


def test_connected_finds_the_pieces():
    rng = np.random.default_rng(8)
    for _ in range(20):
        weight = rng.normal(size=(12, 15)) * (rng.random((12, 15)) < 0.12)
        [piece] = by_group(channel_of(weight))
        pieces = connected(piece)
        linked = weight != 0
        seen = np.zeros_like(linked)
        for p in pieces:
            assert not seen[p.rows].any()
            assert not seen[:, p.columns].any()
            seen[np.ix_(p.rows, p.columns)] = True
            assert linked[np.ix_(p.rows, p.columns)].any()
        assert (linked <= seen).all()
        graph = np.block([[np.zeros((12, 12)), linked], [linked.T, np.zeros((15, 15))]])
        import scipy.sparse.csgraph

        number = scipy.sparse.csgraph.connected_components(graph)[0]
        lonely = (~linked.any(axis=1)).sum() + (~linked.any(axis=0)).sum()
        assert len(pieces) == number - lonely


def test_grouped_convolutions():
    rng = np.random.default_rng(2)
    layer = Layer(rng.normal(size=(4, 1, 2, 2)), None, "sigmoid", "conv", groups=2)
    whole = eiplane.analyze(layer, samples=200_000)[0]
    halves = [
        eiplane.analyze(layer.weight[i : i + 2].reshape(2, 4), samples=200_000)[0] for i in (0, 2)
    ]
    error = 4 * math.hypot(whole.ei_stderr, *(h.ei_stderr for h in halves))
    assert abs(whole.ei - sum(h.ei for h in halves)) < error
    assert whole.influence_in.shape == (8,)
    assert whole.influence_out.shape == (4,)
    plain = eiplane.analyze(layer, measures="ei", estimator="plugin", samples=200_000)[0]
    assert abs(plain.ei - whole.ei) < 4 * math.hypot(plain.ei_stderr, whole.ei_stderr)


# ---- honest errors ------------------------------------------------------------------------------

SMALL = {
    "2 to 2, 8 bins": (channel_of(SIX[:2, :2]), 300),
    "2 to 2, 4 bins": (channel_of(SIX[2:4, :2], 4), 500),
    "3 to 2, 4 bins": (channel_of(SIX[:2, :3], 4), 48),
    "3 to 2, 8 bins": (channel_of(SIX[2:4, 2:5], 8), 24),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SMALL))
def test_five_hundred_seeds(name):
    channel, points = SMALL[name]
    truth = brute_force(channel, points)
    found = [ei(channel, seed, samples=100_000) for seed in range(500)]
    values = np.array([r.ei for r in found])
    errors = np.array([r.ei_stderr for r in found])
    # What the grid itself is off by, about one over the points to the power 1.5 and a half.
    slack = 2e-4
    assert (np.abs(values - truth) <= 4 * errors + slack).mean() >= 0.99
    assert 0.8 <= values.std(ddof=1) / errors.mean() <= 1.25
    assert all(r.ei_bounds[0] <= truth <= r.ei_bounds[1] for r in found)
    assert all(r.ei_bounds[0] <= r.ei <= r.ei_bounds[1] for r in found)


@pytest.mark.parametrize("name", list(SMALL))
def test_plugin_of_small_layers(name):
    channel, points = SMALL[name]
    truth = brute_force(channel, points)
    found = [ei(channel, seed, samples=1_000_000, estimator="plugin") for seed in range(12)]
    assert all(abs(r.ei - truth) <= 4 * r.ei_stderr + 2e-4 for r in found)


@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_drops(estimator, activation):
    out = (-0.5, 1.0) if activation == "identity" else (0.0, 0.8)
    channel = channel_of([[1.3, -0.4], [-1.0, 1.2]], 8, activation, out, True)
    truth = brute_force(channel, 300)
    found = [ei(channel, s, samples=200_000, estimator=estimator) for s in range(20)]
    errors = np.array([r.ei_stderr for r in found])
    off = np.array([r.ei - truth for r in found])
    assert (np.abs(off) <= 4 * errors + 5e-4).all()
    assert np.sqrt((off**2).mean()) < 2.0 * errors.mean() + 5e-4
    assert all(contains(r, truth) for r in found)
    assert 0 < found[0].outlier_fraction < 1


def test_drops_in_cells():
    """Four inputs: too many cells to count, so the cells are drawn given that they are kept."""
    rng = np.random.default_rng(12)
    channel = channel_of(rng.uniform(-1, 1, (2, 4)), 6, "identity", (-0.4, 1.0), True)
    truth = brute_force(channel, 8)
    found = [ei(channel, s, samples=60_000) for s in range(20)]
    off = np.array([r.ei - truth for r in found])
    errors = np.array([r.ei_stderr for r in found])
    assert (np.abs(off) <= 4 * errors + 0.02).all()
    assert abs(off.mean()) < 4 * errors.mean() / math.sqrt(20) + 0.02  # the grid is coarse


def test_everything_dropped():
    channel = channel_of([[1.0, 1.0]], 8, "identity", (5.0, 6.0), True)
    with pytest.warns(SaturationWarning, match=r"every sample is dropped.*between 0 and 3"):
        result = ei(channel, samples=1000)
    assert result.saturated
    assert result.coverage == 0.0
    assert result.ei is result.ei_stderr is result.output_entropy is None
    assert result.ei_bounds == (0.0, 3.0)  # of one output
    result = silently(ei, channel, samples=1000, estimator="plugin")
    assert result.saturated
    for estimator in ("plugin", "wide"):
        with pytest.warns(SaturationWarning, match="every sample is dropped"):
            ei(channel, samples=1000, estimator=estimator)
    silent = channel_of(np.zeros((2, 2)), 8, "identity", (5.0, 6.0), True)
    none = silently(ei, silent)
    assert none.saturated
    assert none.ei is none.output_entropy is None
    assert (none.ei_bounds, none.output_entropy_bounds) == ((0.0, 6.0), (0.0, 6.0))
    assert none.outlier_fraction == 1.0


def test_six_to_six():
    """A million evaluations: within 0.02 bits of a hundred million, error below 0.01."""
    channel = CASES["six"]
    best = ei(channel, 1, samples=20_000_000)  # as good as 1e8, and quicker
    for seed in range(3):
        result = ei(channel, seed, samples=1_000_000)
        assert result.samples <= 1_000_000
        assert result.ei_stderr < 0.01
        assert abs(result.ei - best.ei) < 0.02
        assert not result.saturated


@pytest.mark.slow
def test_six_to_six_against_itself_at_a_hundred_million():
    channel = CASES["six"]
    best = ei(channel, 1, samples=100_000_000, threads=2)
    million = [ei(channel, seed, samples=1_000_000) for seed in range(10)]
    assert all(abs(r.ei - best.ei) < 0.02 for r in million)
    assert all(abs(r.ei - best.ei) < 4 * math.hypot(r.ei_stderr, best.ei_stderr) for r in million)


@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
def test_seeds_threads_and_instruction_sets(estimator, instruction_set):
    channel = CASES["six"]
    one = silently(ei, channel, 5, samples=200_000, estimator=estimator)
    for threads in (2, 5):
        many = silently(ei, channel, 5, samples=200_000, estimator=estimator, threads=threads)
        assert (many.ei, many.ei_stderr) == (one.ei, one.ei_stderr)
        assert many.output_entropy == one.output_entropy
    other = silently(ei, channel, 6, samples=200_000, estimator=estimator)
    assert other.ei != one.ei
    before = _core.active()
    _core.select("baseline")
    plain = silently(ei, channel, 5, samples=200_000, estimator=estimator)
    _core.select(before)
    assert plain.ei == one.ei


def test_executor():
    channel = CASES["six"]
    alone = ei(channel, 5, samples=100_000)
    with ThreadPoolExecutor(2) as pool:
        shared = joint(
            channel,
            Sampling(5, samples=100_000),
            JointOptions(influence=False),
            Runner(2, executor=pool),
        )
    assert shared.ei == alone.ei


def test_tolerance():
    channel = CASES["six"]
    seen = []
    options = JointOptions(influence=False)
    runner = Runner(1, progress=lambda done, total, what: seen.append(what))
    for tol in (0.05, 0.005):
        result = joint(channel, Sampling(0, tol=tol), options, runner)
        assert result.converged is True
        assert result.ei_stderr <= tol
    assert any("made" in what for what in seen)
    capped = silently(ei, channel, samples=4096, tol=1e-4)
    assert capped.converged is False
    assert capped.samples <= 2 * 4096
    assert ei(channel, samples=100_000).converged is None
    plain = ei(channel_of(SIX[:2, :2]), tol=0.01, estimator="plugin")
    assert plain.converged
    assert plain.ei_stderr <= 0.01


def test_saturation_is_told():
    wide = channel_of(np.random.default_rng(3).uniform(-1, 1, (60, 80)) / 3)
    with pytest.warns(SaturationWarning, match=r"made.*too few.*coverage.*known to lie between"):
        result = ei(wide)
    assert result.saturated
    assert result.coverage < 0.05
    low, high = result.ei_bounds
    assert 0.0 < low < high
    assert result.ei is result.ei_stderr is None  # nothing is known but the bounds
    assert result.output_entropy is result.output_entropy_stderr is None
    assert result.samples < 100_000  # and it does not take long to see
    with pytest.warns(SaturationWarning):
        plain = ei(CASES["six"], samples=10_000, estimator="plugin")
    assert plain.saturated
    assert plain.ei < math.log2(10_000)  # the paper's number, as it is
    assert plain.ei_stderr > 0.1
    few = silently(ei, CASES["six"], samples=500)
    assert few.saturated
    assert not ei(CASES["six"], samples=100_000).saturated


# ---- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_bounds_hold(seed):
    rng = np.random.default_rng(seed)
    n_in, n_out = rng.integers(2, 4), rng.integers(1, 4)
    bins = int(rng.choice([4, 6, 8]))
    weight = rng.normal(size=(n_out, n_in)) * rng.choice([0.5, 2, 6])
    weight[rng.random(weight.shape) < 0.2] = 0.0
    kind, out = [("sigmoid", (0, 1)), ("relu", (0, 2)), ("tanh", (-1, 1))][seed % 3]
    channel = channel_of(weight, bins, kind, out)
    truth = brute_force(channel, 200 if n_in == 2 else 24)
    from eiplane.pairwise import exact
    from eiplane.pairwise import sampled as pairwise

    for parts in (
        None,
        exact.ei_parts(channel, Runner(1)),
        pairwise.ei_parts(channel, Sampling(0, samples=50_000), Runner(1)),
    ):
        options = JointOptions(influence=False)
        result = joint(channel, Sampling(0, samples=50_000), options, Runner(1), parts)
        low, high = result.ei_bounds
        assert low - 1e-3 <= truth <= high + 1e-3  # the grid's error
        assert low <= result.ei <= high


def test_bounds_of_phi_bracket_it():
    for weight in (SIX, SIX[:2], SIX[:, :2], np.eye(4)):
        layer = eiplane.analyze(weight, samples=100_000, method="exact")[0]
        assert layer.phi_bounds[0] <= layer.phi <= layer.phi_bounds[1]
        assert layer.ei_bounds[0] <= layer.ei <= layer.ei_bounds[1]
        sampled = silently(eiplane.analyze, weight, samples=100_000, method="sample")[0]
        assert sampled.phi_bounds[0] <= layer.phi <= sampled.phi_bounds[1]


def test_bound_functions():
    edges = np.array([[1.0, 0.2, 0.1], [0.3, 0.6, -0.1]])
    assert lower_bound(edges, None) == pytest.approx(1.7)
    assert lower_bound(edges, np.array([2.0, 0.5])) == 2.0
    assert lower_bound(None, None) == 0.0
    entropies = np.array([2.0, 2.0, 1.0])
    assert upper_bound(9.0, entropies, None) == 5.0
    assert upper_bound(4.0, entropies, None) == 4.0
    assert upper_bound(9.0, entropies, np.array([0.5, 0.7, 0.1])) == 4.3
    assert upper_bound(9.0, entropies, None, np.array([False, True, False])) == 3.0


# ---- nodes and groups ---------------------------------------------------------------------------


def marginal_channel_truth(channel, inputs, outputs, points):
    """Return the EI between groups of a small layer from a dense grid."""
    n, bins = channel.n_in, channel.in_bins
    axis = (np.arange(bins * points) + 0.5) / (bins * points)
    grids = [g.ravel() for g in np.meshgrid(*[axis] * n, indexing="ij")]
    x = np.zeros(len(grids[0]), np.int64)
    y = np.zeros(len(grids[0]), np.int64)
    for k in inputs:
        x = x * bins + np.minimum((grids[k] * bins).astype(int), bins - 1)
    for o in outputs:
        z = channel.bias[o] + sum(w * g for w, g in zip(channel.weight[o], grids, strict=True))
        label = channel.rules[0].bins_of(z)
        y = y * channel.out_bins + label
    return entropy_of(x) + entropy_of(y) - entropy_of(x * channel.out_bins ** len(outputs) + y)


def test_groups():
    weight = SIX[:3, :3]
    channel = channel_of(weight, 4)
    ins = [[0], [1, 2], [0, 1, 2], [2]]
    outs = [[0, 1, 2], [1], [0, 2], [0]]
    for estimator in ("conditional", "plugin"):
        found = eiplane.ei_between(weight, ins, outs, bins=4, samples=200_000, estimator=estimator)
        for a, b, result in zip(ins, outs, found, strict=True):
            truth = marginal_channel_truth(channel, a, b, 40)
            assert abs(result.ei - truth) < 4 * result.ei_stderr + 1e-3
            assert result.ei_bounds[0] <= truth + 1e-3
            assert truth <= result.ei_bounds[1] + 1e-3
            [alone] = eiplane.ei_between(
                weight, [a], [b], bins=4, samples=200_000, estimator=estimator, rng=3
            )
            assert abs(alone.ei - truth) < 4 * alone.ei_stderr + 1e-3


def test_groups_of_a_larger_layer():
    """Groups with too many cells to count go by draws within cells."""
    result = eiplane.ei_between(SIX, range(5), [0, 3, 4], samples=400_000)
    plain = eiplane.ei_between(SIX[[0, 3, 4]], range(6), range(3), samples=400_000)
    assert result.ei < plain.ei  # one input fewer
    whole = eiplane.ei_between(SIX, range(6), range(6), samples=400_000)
    layer = eiplane.analyze(SIX, measures="ei", samples=400_000)[0]
    assert abs(whole.ei - layer.ei) < 4 * math.hypot(whole.ei_stderr, layer.ei_stderr)


def test_groups_are_checked():
    for ins, outs, error, word in (
        ([], [0], ValueError, "at least one"),
        ([0, 0], [0], ValueError, "twice"),
        ([9], [0], ValueError, "no neuron 9"),
        ([0.5], [0], TypeError, "places"),
        ([[0], [1]], [[0], [1], [2]], ValueError, "2 groups"),
        ([0], [True], TypeError, "places"),
    ):
        with pytest.raises(error, match=word):
            eiplane.ei_between(SIX, ins, outs)
    assert eiplane.ei_between(SIX, [-1], [0], samples=1000).ei >= 0
    with pytest.raises(ValueError, match="its own"):
        eiplane.ei_between(Layer(SIX), [0], [0], activation="tanh")
    with pytest.raises(ValueError, match="memory_limit"):
        eiplane.ei_between(SIX, [0], [0], memory_limit=5)


def test_groups_with_drops():
    weight = np.array([[1.3, -0.4, 0.3], [-1.0, 1.2, 0.2]])
    options = {"activation": "identity", "out_range": (-0.5, 1.0), "outliers": "drop", "bins": 4}
    channel = channel_of(weight, 4, "identity", (-0.5, 1.0), True)
    n, points = 3, 40
    axis = (np.arange(4 * points) + 0.5) / (4 * points)
    grids = [g.ravel() for g in np.meshgrid(*[axis] * n, indexing="ij")]
    labels = [
        channel.rules[0].bins_of(sum(w * g for w, g in zip(row, grids, strict=True)))
        for row in weight
    ]
    kept = (labels[0] >= 0) & (labels[1] >= 0)
    x = (grids[0] * 4).astype(int)[kept] * 4 + (grids[1] * 4).astype(int)[kept]
    y = labels[1][kept].astype(int)
    truth = entropy_of(x) + entropy_of(y) - entropy_of(x * 8 + y)
    one = eiplane.ei_between(weight, [0, 1], [1], samples=300_000, **options)
    many = eiplane.ei_between(weight, [[0, 1], [2]], [[1]], samples=300_000, **options)
    for result in (one, many[0]):
        assert abs(result.ei - truth) < 4 * result.ei_stderr + 1e-3


def test_influences():
    weight = SIX[:3, :3]
    layer = eiplane.analyze(weight, bins=4, samples=400_000)[0]
    channel = channel_of(weight, 4)
    for k in range(3):
        truth = marginal_channel_truth(channel, [k], range(3), 40)
        error = layer.joint.influence_in_stderr[k]
        assert abs(layer.influence_in[k] - truth) < 4 * error + 1e-3
        assert layer.influence_in[k] >= layer.ei_edges[:, k].max() - 4 * error
    for o in range(3):
        truth = marginal_channel_truth(channel, range(3), [o], 40)
        assert abs(layer.influence_out[o] - truth) < 2e-3
        assert layer.influence_out[o] >= layer.ei_edges[o].sum() - 1e-6
    assert layer.influence_in.sum() <= layer.ei + 4 * layer.ei_stderr


def test_influences_of_wide_layers():
    wide = np.random.default_rng(3).uniform(-1, 1, (60, 80)) / 3
    layer = silently(eiplane.analyze, wide, estimator="conditional")[0]
    assert layer.saturated
    assert layer.influence_in is None  # not to be had by counting
    assert layer.influence_out.shape == (60,)
    edges = layer.ei_edges.sum(axis=1)
    assert (layer.influence_out >= edges - 4 * layer.joint.influence_out_stderr - 1e-6).all()


# ---- through several layers ---------------------------------------------------------------------


def test_spans():
    """The same layer as one, and as a stage that does nothing before it."""
    plain = channel_of(SIX[:2, :2])
    identity = Stage(2, 2, np.eye(2), np.zeros(2), get_activation("identity"))
    span = replace(plain, stages=(identity,))
    truth = brute_force(plain, 300)
    for samples in (3000, 200_000):  # cells of their own, and counted
        result = joint(span, Sampling(1, samples=samples), JointOptions(), Runner(1))
        assert abs(result.ei - truth) < 4 * result.ei_stderr + 1e-3
        assert contains(result, truth)
    expected = joint(plain, Sampling(1), JointOptions(), Runner(1)).influence_out
    assert (np.abs(result.influence_out - expected) < 4 * result.influence_out_stderr).all()


def test_spans_of_a_network():
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=(4, 4)), rng.normal(size=(3, 4))]
    d = eiplane.analyze(weights, spans=[(0, 1)], samples=200_000)
    assert d[0].ei > 0
    first = eiplane.analyze(weights, samples=200_000)[0]
    assert d[0].ei < first.ei + 4 * first.ei_stderr  # data processing


# ---- results ------------------------------------------------------------------------------------


def test_results_reach_everything(tmp_path):
    d = eiplane.analyze([SIX, SIX[:3]], samples=100_000)
    for layer in d:
        assert layer.phi == layer.ei - layer.ei_parts
        assert layer.degeneracy_joint == layer.sensitivity - layer.ei
        assert layer.effectiveness == layer.ei / (layer.n_in * 3)
        assert layer.output_entropy >= layer.ei
        assert layer.phi_stderr >= layer.ei_stderr
        assert 0 < layer.ei_samples <= 100_000
    text = str(d)
    for word in ("EI", "phi", "H(Y)", "effectiveness", "±"):
        assert word in text
    back = eiplane.load(d.save(tmp_path / "d.npz") or tmp_path / "d.npz")
    for a, b in zip(d, back, strict=True):
        assert a.to_dict() == b.to_dict()
    assert "output_entropy_stderr" in d[0].to_dict()
    only = eiplane.analyze(SIX, measures="ei", samples=50_000)[0]
    assert only.ei_parts is None
    assert only.phi is None
    assert only.ei is not None


def test_plane_by_joint_ei():
    pytest.importorskip("matplotlib").use("Agg")
    from eiplane.plot.planes import Plane, paths
    from eiplane.training import as_history

    d = eiplane.analyze([SIX, SIX], samples=50_000)
    d.plot(ei="joint", rotated=False)
    for layer, path in zip(d, paths(as_history(d), Plane(False, "joint")), strict=True):
        np.testing.assert_allclose(path.points, [[layer.degeneracy_joint, layer.sensitivity]])


def test_default_is_quick_to_say():
    """The default number of samples falls where a sample takes long."""
    small = eiplane.analyze(SIX, measures="ei")[0]
    large = silently(
        eiplane.analyze, np.random.default_rng(0).normal(size=(200, 300)), measures="ei"
    )
    assert small.ei_samples > 400_000
    assert large[0].ei_samples < 50_000


# ---- convergence --------------------------------------------------------------------------------


def test_convergence():
    seen = eiplane.convergence(SIX[:2, :2], samples=[10_000, 100, 1000, 100])
    assert seen.samples.tolist() == [100, 1000, 10_000]
    assert list(seen.values) == ["conditional", "plugin", "ei_parts"]
    truth = brute_force(channel_of(SIX[:2, :2]), 300)
    for quantity in ("conditional", "plugin"):
        assert (seen.stderr[quantity][1:] < seen.stderr[quantity][:-1]).all()
        assert abs(seen.values[quantity][-1] - truth) < 4 * seen.stderr[quantity][-1] + 5e-4
    alone = eiplane.convergence(SIX[:2, :2], samples=[10_000], quantities=["plugin"])
    assert alone.values["plugin"][-1] == seen.values["plugin"][-1]
    assert "plugin" in str(seen)
    both = eiplane.convergence(SIX, samples=[200, 2000], quantities=["conditional", "wide"])
    assert list(both.values) == ["wide", "conditional"]
    assert both.stderr["wide"][1] < both.stderr["wide"][0]
    with pytest.raises(ValueError, match="quantities"):
        eiplane.convergence(SIX, quantities=["x"])
    with pytest.raises(ValueError, match="samples"):
        eiplane.convergence(SIX, samples=[])


def test_convergence_picture():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    seen = [eiplane.convergence(Layer(SIX[:n, :n], name=f"{n}"), samples=[64, 640]) for n in (2, 3)]
    ax = eiplane.plot.convergence(seen)
    lines = ax.get_lines()
    assert len(lines) == 6
    np.testing.assert_array_equal(lines[0].get_xdata(), [64, 640])
    np.testing.assert_array_equal(lines[0].get_ydata(), seen[0].values["conditional"])
    assert ax.get_xscale() == "log"
    assert eiplane.plot.convergence(seen[0], ax=ax) is ax
    with pytest.raises(ValueError, match="nothing"):
        eiplane.plot.convergence([])


def test_measure_takes_any_target():
    channel = channel_of(SIX)
    target = Target(channel, np.arange(6) < 0, np.ones(6, bool))
    nothing = measure(target, 1, Sampling(0, samples=5000), JointOptions(), Runner(1))
    assert nothing.ei == 0.0
    assert nothing.output_entropy > 5.0


def test_exact_single_gives_up_politely():
    channel = channel_of(np.ones((130, 1)), 1024)
    assert exact_single(channel, np.arange(130)) is None
    result = silently(ei, channel, samples=5_000)
    assert abs(result.ei - math.log2(1024)) < 10
