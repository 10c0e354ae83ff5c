"""Wide rows of the exact engine, whose edges are interpolated (csrc/exact/ei_between.c)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eiplane import Layer, _core, analyze, reference
from eiplane.network import Binning, automatic_range, discretize
from eiplane.pairwise import exact
from eiplane.run import Runner

HERE = Runner(threads=1)

N = 120
ROWS = {
    "equal": lambda g: np.full(N, 0.2),
    "normal": lambda g: g.normal(size=N) * 3 / np.sqrt(N),
    "one above": lambda g: np.append(g.normal(size=N - 1) * 0.2, 1.5),
    "a few above": lambda g: np.append(g.normal(size=N - 5) * 0.2, [0.9, -0.7, 0.8, 0.6, -0.6]),
    "many zeros": lambda g: g.normal(size=N) * (g.random(N) < 0.4),
    "tiny beside": lambda g: g.normal(size=N) * 10.0 ** g.integers(-14, 1, size=N),
    "heavy tails": lambda g: g.standard_t(3, size=N) * 0.2,
}


def channel_of(weight, activation="sigmoid", bins=(8, 8), in_range=(0.0, 1.0), drop=False):
    bias = -weight.sum(axis=1) * sum(in_range) / 2
    layer = Layer(weight, bias, activation)
    out = automatic_range(layer, in_range)
    return discretize(layer, Binning(*bins, drop=drop), in_range, out)


def some(row):
    """The widest edge, the narrowest, and a few between."""
    order = np.argsort(np.abs(row))
    return [int(order[int(share * (len(row) - 1))]) for share in (0.0, 0.3, 0.6, 0.9, 1.0)]


def assert_exact(channel):
    parts = exact.ei_parts(channel, HERE)
    assert parts.error_bound <= 1e-9
    for output, row in enumerate(channel.weight):
        for at in some(row):
            wanted = reference.exact_information(reference.exact_table(channel, output, at))
            error = abs(parts.edges[output, at] - wanted)
            assert error <= min(1e-9, parts.error_bound + 1e-13), (output, at, error)
    return parts


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
@pytest.mark.parametrize("name", ROWS)
def test_rows_against_the_reference(name, activation, generator):
    weight = np.stack([ROWS[name](generator) for _ in range(2)])
    assert_exact(channel_of(weight, activation))


@pytest.mark.parametrize("bins", [(2, 2), (9, 33), (64, 16), (16, 64)])
@pytest.mark.parametrize("in_range", [(0.0, 1.0), (-0.3, 1.7)])
def test_bins_and_ranges(bins, in_range, generator):
    weight = np.stack([ROWS["normal"](generator), ROWS["one above"](generator)])
    assert_exact(channel_of(weight, "relu", bins, in_range))


@pytest.mark.parametrize("drop", [False, True])
def test_layers_far_from_zero(drop, generator):
    """Biases that push most of a row out of sight: cells that are left have next to nothing."""
    weight = generator.normal(size=(6, N)) / np.sqrt(N)
    layer = Layer(weight, np.linspace(-3.5, 3.5, 6), "relu")
    channel = discretize(layer, Binning(8, 8, drop=drop), (0.0, 1.0), (0.0, 1.0))
    parts = exact.ei_parts(channel, HERE)
    assert drop or parts.error_bound <= 1e-9
    for output in range(6):
        for at in some(weight[output])[1:]:
            table = reference.exact_table(channel, output, at)
            error = abs(parts.edges[output, at] - reference.exact_information(table))
            # The reference's sines are off by a few units in the last place, beside what is kept.
            assert error <= max(1e-9, parts.error_bound) + 1e-13 / table.sum(), (output, at)


def gil_pelaez(integrate, widths, s):
    """The distribution function of a sum of uniforms."""

    def integrand(w):
        return math.sin(w * s) / w * np.prod(np.sinc(w * widths / (2 * np.pi)))

    area, _ = integrate.quad(integrand, 1e-300, 40.0, epsabs=1e-13, limit=500)
    return 0.5 + area / np.pi


def test_against_quadrature(generator):
    """Gil-Pelaez's integral by SciPy, which knows nothing of series, expansions or nodes."""
    integrate = pytest.importorskip("scipy.integrate")
    w = np.append(generator.normal(size=39) * 0.3, 1.0)
    channel = channel_of(w[None], "sigmoid", (4, 4))
    thresholds = channel.rules[0].thresholds - channel.bias[0] - w.sum() / 2
    edges = exact.ei_parts(channel, HERE).edges[0]
    for at in (0, 39):
        widths = np.abs(np.append(np.delete(w, at), w[at] / 4))

        rows = []
        for k in range(4):
            centre = w[at] * ((k + 0.5) / 4 - 0.5)
            below = [gil_pelaez(integrate, widths, t - centre) for t in thresholds]
            rows.append(np.diff([0.0, *below, 1.0]))
        p = np.array(rows) / 4
        apart = p.sum(1, keepdims=True) * p.sum(0)
        assert abs(edges[at] - (p * np.log2(p / apart)).sum()) < 1e-9


def test_equal_weights_are_equal_edges(generator):
    weight = generator.normal(size=(3, N))
    weight[:, 7], weight[:, 50] = weight[:, 3], -weight[:, 3]
    edges = exact.ei_parts(channel_of(weight, "tanh"), HERE).edges
    assert (edges[:, 7] == edges[:, 3]).all()
    assert (edges[:, 50] == edges[:, 3]).all()


def test_every_instruction_set_gives_the_same_bits(generator):
    found = set()
    rows = np.stack([make(generator) for make in ROWS.values()])
    before = _core.active()
    try:
        for name in _core.supported():
            _core.select(name)
            for length in (N, N - 3):
                parts = exact.ei_parts(channel_of(rows[:, :length].copy(), "relu", (9, 12)), HERE)
                found.add((length, parts.edges.tobytes(), parts.outlier_fraction))
    finally:
        _core.select(before)
    assert len(found) == 2


# ---- what a record takes ------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_float32_is_read_as_it_is(activation, generator):
    narrow = generator.normal(size=(40, 128)).astype(np.float32) / 8
    wanted = ("sensitivity", "ei_parts")
    results = [
        analyze(Layer(w, None, activation), measures=wanted, threads=threads)[0]
        for w in (narrow, narrow.astype(float), np.asfortranarray(narrow))
        for threads in (1, 2)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.ei_edges, results[0].ei_edges)
        np.testing.assert_array_equal(other.sensitivity_edges, results[0].sensitivity_edges)
        assert other.out_range == results[0].out_range
        assert other.pairwise_ei.outlier_fraction == results[0].pairwise_ei.outlier_fraction


def test_the_share_outside_is_that_of_the_whole_row(generator):
    """Found on the way for most rows; checked against a cut at nothing but the range's ends."""
    weight = generator.normal(size=(5, N)) / np.sqrt(N)
    layer = Layer(weight, np.array([-2.0, -0.5, 0.0, 0.5, 2.0]), "identity")
    channel = discretize(layer, Binning(8, 8), (0.0, 1.0), (-0.4, 0.6))
    dropping = discretize(layer, Binning(8, 8, drop=True), (0.0, 1.0), (-0.4, 0.6))
    kept = exact.output_marginals(dropping).sum(axis=1)
    share = exact.ei_parts(channel, HERE).outlier_fraction
    assert 0.05 < share < 0.95
    assert share == pytest.approx(1 - kept.mean(), abs=1e-11)


def test_one_worker_needs_no_thread_for_short_units(generator, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a thread was started")

    monkeypatch.setattr("eiplane.run.together.ThreadPoolExecutor", refuse)
    weight = generator.normal(size=(900, 300))
    done = []
    with Runner(threads=1, progress=lambda now, total, what: done.append((now, total))) as runner:
        edges = exact.ei_parts(channel_of(weight), runner).edges
    assert done[-1][0] == done[-1][1] > 1  # a first unit to see how long they take
    monkeypatch.undo()
    with Runner(threads=2) as runner:
        np.testing.assert_array_equal(edges, exact.ei_parts(channel_of(weight), runner).edges)


def test_units_that_take_long_go_to_a_thread(monkeypatch):
    """All but the first of them: Ctrl-C is heard while they run."""
    import threading

    monkeypatch.setattr("eiplane.run.parallel.PATIENCE", -1.0)
    with Runner(threads=1) as runner:
        names = runner.map(lambda unit: threading.current_thread().name, [0, 1, 2], probe=True)
    assert all(name.startswith("eiplane") for name in names)
    monkeypatch.setattr("eiplane.run.parallel.PATIENCE", 1e-9)
    with Runner(threads=1) as runner:
        names = runner.map(lambda unit: threading.current_thread().name, [0, 1, 2], probe=True)
    assert names[0] == threading.current_thread().name
    assert all(name.startswith("eiplane") for name in names[1:])


@pytest.mark.parametrize("n_out", [1, 40])
def test_rows_that_are_hardly_ever_kept_go_to_a_thread(n_out, monkeypatch):
    """One of 14 inputs may take seconds, and Ctrl-C is to be heard."""
    import threading

    flag, seen = exact.cancel_flag, set()

    def noted():
        seen.add(threading.current_thread())
        return flag()

    monkeypatch.setattr(exact, "cancel_flag", noted)
    layer = Layer(np.ones((n_out, 14)), np.full(n_out, -10.5), "identity")
    for drop in (False, True):
        seen.clear()
        channel = discretize(layer, Binning(4, 4, drop=drop), (0.0, 1.0), (-0.5, 0.5))
        with Runner(threads=1) as runner:
            exact.ei_parts(channel, runner)
        assert (threading.current_thread() in seen) != drop
