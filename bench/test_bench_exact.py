"""The exact engine: time of an edge over fan-in, bins and kinds of weights; and against sampling.

Every timed answer is checked: the exact one against the slow twin in ``eiplane.reference``, the
sampled ones against the exact one. ``extra_info`` holds the time of an edge and its error: for the
exact engine the bound that it proved, for the others the root mean square over the edges.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
import pytest

import eiplane
from eiplane import _core, reference
from eiplane.network import Binning, RowSums, automatic_range, discretize
from eiplane.pairwise import exact
from eiplane.run import Runner

HERE = Runner(threads=1)
FAN_INS, BINS = (4, 7, 12, 25, 100, 784, 3072), (8, 16, 64)
SAMPLES = 100_000


@cache
def digits_weights() -> tuple[np.ndarray, ...]:
    """A 64→32→10 network of sigmoids, trained on scikit-learn's digits in a few seconds."""
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("sklearn.datasets").load_digits()
    torch.manual_seed(0)
    x = torch.tensor(data.data / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.Sigmoid(), torch.nn.Linear(32, 10), torch.nn.Sigmoid()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(4.0 * model(x), y)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        assert (model(x).argmax(1) == y).float().mean() > 0.9
    return tuple(model[i].weight.detach().double().numpy() for i in (0, 2))


def weights_of(kind: str, fan_in: int, n_out: int) -> np.ndarray:
    generator = np.random.default_rng(fan_in)
    weight = generator.normal(size=(n_out, fan_in)) * 3.0 / np.sqrt(fan_in)
    if kind == "sparse":
        weight *= (generator.random(weight.shape) < 0.05) / np.sqrt(0.05)
    return weight


def channel_of(weight: np.ndarray, bins: int):
    # A bias that centres the pre-activation, as training tends to: the hardest to ignore.
    layer = eiplane.Layer(weight, -0.5 * weight.sum(axis=1))
    return discretize(layer, Binning(bins, bins), (0.0, 1.0), (0.0, 1.0))


def time_exact(benchmark, channel, measure, label):
    engine = {"ei_parts": exact.ei_parts, "sensitivity": exact.sensitivity}[measure]
    result = benchmark.pedantic(engine, (channel, HERE), rounds=5, warmup_rounds=1)
    assert result.error_bound <= 1e-9
    table = {"ei_parts": reference.exact_table, "sensitivity": reference.exact_single_table}
    widest = int(np.abs(channel.weight[0]).argmax())
    wanted = reference.exact_information(table[measure](channel, 0, widest))
    assert abs(result.edges[0, widest] - wanted) <= 1e-9
    benchmark.extra_info |= {
        "layer": label,
        "bins": channel.in_bins,
        "way": f"exact, {channel.in_bins} bins",
        "us_an_edge": benchmark.stats["median"] / channel.weight.size * 1e6,
        "error": result.error_bound,
    }


@pytest.mark.parametrize("measure", ["ei_parts", "sensitivity"])
@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("fan_in", FAN_INS)
@pytest.mark.benchmark(group="exact: dense")
def test_dense(benchmark, fan_in, bins, measure):
    n_out = max(2, min(200, (20_000 if bins < 64 else 4_000) // fan_in))
    channel = channel_of(weights_of("dense", fan_in, n_out), bins)
    time_exact(benchmark, channel, measure, f"{measure} {fan_in}→{n_out}")


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("fan_in", [100, 784, 3072])
@pytest.mark.benchmark(group="exact: 5 % non-zero")
def test_sparse(benchmark, fan_in, bins):
    n_out = max(2, min(200, (40_000 if bins < 64 else 8_000) // fan_in))
    channel = channel_of(weights_of("sparse", fan_in, n_out), bins)
    time_exact(benchmark, channel, "ei_parts", f"{fan_in}→{n_out}")


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.benchmark(group="exact: Iris, trained")
def test_iris(benchmark, index, bins):
    with (resources.files("eiplane") / "data" / "iris.npz").open("rb") as file:
        weight = np.load(file)[f"weight_{index}"][-1].astype(float)
    channel = channel_of(weight, bins)
    time_exact(benchmark, channel, "ei_parts", f"{weight.shape[1]}→{weight.shape[0]}")


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.benchmark(group="exact: digits, trained")
def test_digits(benchmark, index, bins):
    weight = digits_weights()[index]
    channel = channel_of(weight, bins)
    time_exact(benchmark, channel, "ei_parts", f"{weight.shape[1]}→{weight.shape[0]}")


@pytest.mark.benchmark(group="exact: a transformer's layer")
def test_wide_layer(benchmark):
    weight = np.random.default_rng(0).normal(size=(3072, 768)) * 0.04
    channel = channel_of(weight, 8)

    def both():
        runner = Runner(threads=2)
        return exact.ei_parts(channel, runner), exact.sensitivity(channel, runner)

    parts, alone = benchmark.pedantic(both, rounds=3, warmup_rounds=1)
    assert max(parts.error_bound, alone.error_bound) <= 1e-9
    wanted = reference.exact_information(reference.exact_table(channel, 5, 7))
    assert abs(parts.edges[5, 7] - wanted) <= 1e-9
    benchmark.extra_info |= {
        "layer": "768→3072",
        "way": "exact, both measures, 2 threads",
        "us_an_edge": benchmark.stats["median"] / weight.size * 1e6,
        "error": parts.error_bound,
    }


@pytest.mark.parametrize("narrow", [False, True], ids=["float64", "float32"])
@pytest.mark.benchmark(group="exact: a classifier's layer, sums alone")
def test_totals(benchmark, narrow):
    """What a tracker asks of a layer 784→256 of rectified units: both measures, no edges."""
    weight = weights_of("dense", 784, 256) * 0.02
    layer = eiplane.Layer(weight.astype(np.float32 if narrow else np.float64), None, "relu")

    def measured():
        values = _core.row_sums(layer.rows())
        sums = RowSums(layer.rows(), values, _core.row_extremes(values))
        out_range = automatic_range(layer, (0.0, 1.0), sums)
        channel = discretize(layer, Binning(8, 8), (0.0, 1.0), out_range, narrow=True, sums=sums)
        return channel, exact.totals(("sensitivity", "ei_parts"), channel, HERE)

    channel, found = benchmark.pedantic(measured, rounds=5, warmup_rounds=1)
    assert found["ei_parts"] == exact.ei_parts(channel, HERE).totals()
    assert found["sensitivity"] == exact.sensitivity(channel, HERE).totals()
    benchmark.extra_info |= {
        "layer": "784→256",
        "way": "exact, both measures' sums",
        "us_an_edge": benchmark.stats["median"] / weight.size * 1e6,
        "error": found["ei_parts"].error_bound,
    }


# ---- three ways to the same numbers -------------------------------------------------------------


def matrix(shape: tuple[int, int]) -> np.ndarray:
    generator = np.random.default_rng(shape[0])
    # float32, since that is what deep-ei computes with
    return generator.normal(size=shape[::-1]).astype(np.float32) * 3 / np.sqrt(shape[0])


def report(benchmark, shape, way, edges, truth):
    off = np.asarray(edges, float) - truth
    benchmark.extra_info |= {
        "layer": f"{shape[0]}→{shape[1]}",
        "way": way,
        "us_an_edge": benchmark.stats["median"] / off.size * 1e6,
        "error": float(np.sqrt((off**2).mean())),
    }
    return off


@cache
def truth_of(shape):
    layer = eiplane.analyze(matrix(shape), measures="ei_parts", method="exact")[0]
    assert layer.error_bound <= 1e-9
    return layer.ei_edges


SHAPES = [(25, 6), (100, 50)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.benchmark(group="three ways")
def test_deep_ei(benchmark, shape):
    peer = pytest.importorskip("peer", reason='needs deep-ei: pip install "eiplane[bench]"')
    samples = SAMPLES // 5
    edges = benchmark.pedantic(peer.Peer(matrix(shape)).ei_edges, (samples,), rounds=3)
    off = report(benchmark, shape, f"deep-ei, {samples} samples", edges, truth_of(shape))
    # Nothing but its noise and the bias of plug-in estimates, (Bx - 1)(By - 1) / (2 samples ln 2).
    assert abs(np.median(off)) < 2 * 49 / (2 * samples * np.log(2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.benchmark(group="three ways")
def test_sampled(benchmark, shape):
    options = {"method": "sample", "measures": "ei_parts", "samples": SAMPLES, "threads": 1}
    run = benchmark.pedantic(eiplane.analyze, (matrix(shape),), options, rounds=5)
    edges, errors = run[0].ei_edges, run[0].ei_edges_stderr
    off = report(benchmark, shape, f"sampled, {SAMPLES} samples", edges, truth_of(shape))
    assert (np.abs(off) < 6 * errors + 1e-5).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.benchmark(group="three ways")
def test_exact(benchmark, shape):
    options = {"method": "exact", "measures": "ei_parts", "threads": 1}
    weight = matrix(shape)
    run = benchmark.pedantic(eiplane.analyze, (weight,), options, rounds=5, warmup_rounds=1)
    layer = eiplane.Layer(weight)
    channel = discretize(layer, Binning(), (0.0, 1.0), (0.0, 1.0))
    some = [(o, i) for o in range(3) for i in range(4)]
    wanted = [reference.exact_information(reference.exact_table(channel, *at)) for at in some]
    off = report(benchmark, shape, "exact", [run[0].ei_edges[at] for at in some], wanted)
    assert np.abs(off).max() <= 1e-9
    edges = weight.size
    benchmark.extra_info["us_an_edge"] = benchmark.stats["median"] / edges * 1e6


@pytest.mark.parametrize("fan_in", [2, 5, 25])
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "relu"])
@pytest.mark.benchmark(group="Gaussian noise")
def test_gaussian_noise(benchmark, fan_in, activation):
    layer = eiplane.Layer(weights_of("dense", fan_in, 8), None, activation)
    options = {"noise": 0.2, "measures": "ei_parts", "threads": 1}
    run = benchmark.pedantic(eiplane.analyze, (layer,), options, rounds=5, warmup_rounds=1)
    benchmark.extra_info |= {
        "layer": f"{fan_in}→8",
        "way": activation,
        "us_an_edge": benchmark.stats["median"] / run[0].ei_edges.size * 1e6,
        "error": run[0].error_bound,
    }
    # The first edge counted, in fine bins of y: a little less than the whole, and a little bias.
    generator = np.random.default_rng(fan_in)
    x = generator.random((400_000, fan_in))
    y = layer(x)[:, 0] + 0.2 * generator.normal(size=len(x))
    table = np.histogram2d(x[:, 0], y, bins=(8, 60))[0] / len(x)
    apart = table.sum(1, keepdims=True) * table.sum(0)
    kept = table > 0
    counted = float((table[kept] * np.log2(table[kept] / apart[kept])).sum())
    assert abs(run[0].ei_edges[0, 0] - counted) < 0.02
