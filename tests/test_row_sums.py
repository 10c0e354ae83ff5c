"""What is known of rows of weights, and sums over edges that nobody keeps."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import eiplane
from eiplane import _core
from eiplane.network import Binning, Layer, RowSums, automatic_range, discretize
from eiplane.pairwise import exact
from eiplane.run import Runner

SETS = _core.supported()


def rows_of(dtype, n, scale):
    rng = np.random.default_rng(n)
    rows = (rng.normal(size=(5, n)) * scale).astype(dtype)
    rows[3] = 0.0
    return rows


def sums_of(rows):
    values = _core.row_sums(rows)
    return RowSums(rows, values, _core.row_extremes(values))


@pytest.mark.parametrize("n", [1, 3, 8, 17, 130])
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float64, 1.0), (np.float64, 1e-140), (np.float32, 1e30)]
)
def test_sums_of_rows(instruction_set, n, dtype, scale):
    rows = rows_of(dtype, n, scale)
    sums = sums_of(rows)
    wide = rows.astype(np.float64)
    most = np.abs(wide).max(axis=1)
    assert sums.greatest.tolist() == most.tolist()
    assert (sums.largest, sums.least) == (most.max(), most[most > 0].min())
    for row, total, size, square in zip(wide, sums.totals, sums.sizes, sums.squares, strict=True):
        assert total == math.fsum(row)  # summed in twice the precision
        assert size == pytest.approx(math.fsum(np.abs(row)), rel=1e-15 * n)
        assert square == pytest.approx(math.fsum(row * row), rel=1e-15 * n)
    assert sums.usual
    assert sums.of(rows) is sums
    assert sums.of(rows.copy()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_number_is_seen(value, dtype):
    rows = rows_of(dtype, 30, 1.0)
    rows[3, 21] = value
    assert not sums_of(rows).usual


def test_sums_of_all_sets_are_the_same_bits():
    rows, found = rows_of(np.float32, 77, 1.0), []
    before = _core.active()
    for name in SETS:
        _core.select(name)
        found.append((_core.row_sums(rows).tobytes(), _core.total(np.abs(rows).astype(float))))
    _core.select(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize("activation", ["relu", "identity", "sigmoid", "gelu", "leaky_relu(-0.5)"])
def test_ranges_from_sums(activation):
    rng = np.random.default_rng(4)
    layer = Layer(rng.normal(size=(40, 30)), rng.normal(size=40), activation)
    sums = sums_of(layer.rows())
    found = automatic_range(layer, (-0.5, 2.0), sums)
    assert found == pytest.approx(automatic_range(layer, (-0.5, 2.0)), rel=1e-14, abs=1e-14)
    if layer.activation.rises:
        ends = _core.row_ends(sums.values, layer.offsets(), -0.5, 2.0)
        assert automatic_range(layer, (-0.5, 2.0), sums, ends) == found


def channel_of(layer, drop, baseline, sums):
    known = sums_of(layer.rows()) if sums else None
    reach = automatic_range(layer, (0.0, 1.0))
    middle = (0.75 * reach[0] + 0.25 * reach[1], 0.25 * reach[0] + 0.75 * reach[1])
    return discretize(
        layer, Binning(4, 5, drop, baseline), (0.0, 1.0), middle, narrow=True, sums=known
    )


def layer_of(dtype, n_in):
    rng = np.random.default_rng(n_in)
    weight = rng.normal(size=(30, n_in)) / np.sqrt(n_in)
    weight[3] = 0.0
    weight[:, 1] *= 3.0
    return Layer(weight.astype(dtype), rng.normal(size=30).astype(dtype), "relu", "it")


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("baseline", [0.0, 0.5, 1e14])
@pytest.mark.parametrize("n_in", [5, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_totals_are_the_sums_of_the_edges(instruction_set, drop, baseline, n_in, dtype):
    """Of any cut of the rows, with sums of weights known before or not: the same bits."""
    layer, run = layer_of(dtype, n_in), Runner(threads=1)
    known, plain = (channel_of(layer, drop, baseline, sums) for sums in (True, False))
    assert known.own_sums() is not None
    both = exact.totals(("ei_parts", "sensitivity"), [known], run)[0]
    for which in ("sensitivity", "ei_parts"):
        edges = exact.measure(which, plain, run)
        assert both[which] == edges.totals()
        assert exact.totals((which,), [plain], run)[0][which] == both[which]
        assert both[which].total == pytest.approx(math.fsum(edges.edges.ravel()), abs=1e-12)
        assert exact.measure(which, known, run).edges.tobytes() == edges.edges.tobytes()


def test_totals_for_any_number_of_threads_and_elsewhere():
    layer = layer_of(np.float32, 300)
    channel = channel_of(layer, False, 0.0, True)
    wanted = ("sensitivity", "ei_parts")
    expected = exact.totals(wanted, [channel], Runner(threads=1))
    for threads in (2, 3):
        with Runner(threads=threads) as run:
            assert exact.totals(wanted, [channel], run) == expected
    with ThreadPoolExecutor(2) as pool, Runner(threads=2, executor=pool) as run:
        assert exact.totals(wanted, [channel], run) == expected


def test_sums_are_left_with_the_weights_they_are_of():
    layer = layer_of(np.float32, 200)
    channel = channel_of(layer, False, 0.0, True)
    part = channel.rows(4, 9)
    assert part.own_sums().values.tolist() == channel.own_sums().values[4:9].tolist()
    assert channel.widened().own_sums() is not None
    assert replace(channel, weight=channel.weight * 2.0).own_sums() is None
    assert channel.columns(3, 60).own_sums() is None


def test_a_single_output_with_functions_by_row():
    """Rules of their own: rows of one rule come after those of another, sums stay with theirs."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(6, 80))]
    functions = eiplane.per_row(["relu", "leaky_relu(0.2)", "relu", "identity", "relu", "relu"])
    full = eiplane.analyze(weights, functions, measures=("sensitivity", "ei_parts"))
    light = eiplane.analyze(weights, functions, measures=("sensitivity", "ei_parts"), edges=False)
    assert light.to_dict(edges=False) == full.to_dict(edges=False)
