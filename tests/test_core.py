"""The compiled kernels against their NumPy twins, for every instruction set."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import replace

import mpmath
import numpy as np
import pytest

from eiplane import Layer, _core, reference
from eiplane.network import Binning, Stage, discretize, get_activation
from eiplane.pairwise.job import Job

CANCEL = np.zeros(1, np.int32)


def channel_of(generator, activation, bins, drop=False, baseline=0.0, stages=False, shape=(5, 7)):
    layer = Layer(generator.normal(size=shape), generator.normal(size=shape[0]), activation)
    channel = discretize(layer, Binning(*bins, drop, baseline), (-1.0, 1.0), (-0.1, 1.0))
    if not stages:
        return channel
    first = Stage(
        6,
        14,
        generator.normal(size=(14, 6)),
        generator.normal(size=14),
        get_activation("tanh"),
    )
    return replace(channel, stages=(first, Stage(14, 7, width=2)))


def test_philox_known_answers():
    # Random123's kat_vectors, philox4x32-10.
    def words(*values):
        return np.array(values, np.uint64)[:, None]

    full = 0xFFFFFFFF
    assert [hex(int(v)) for v in reference.philox(words(0, 0, 0, 0), 0)[:, 0]] == [
        "0x6627e8d5",
        "0xe169c58d",
        "0xbc57ac4c",
        "0x9b00dbd8",
    ]
    assert [hex(int(v)) for v in reference.philox(words(*[full] * 4), 2**64 - 1)[:, 0]] == [
        "0x408f276d",
        "0x41c83b0e",
        "0xa20bc7c6",
        "0x6d5451fd",
    ]
    pi = words(0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert [hex(int(v)) for v in reference.philox(pi, 0x299F31D0A4093822)[:, 0]] == [
        "0xd16cfe09",
        "0x94fdcceb",
        "0x5001e420",
        "0x24126ea1",
    ]


@pytest.mark.parametrize("first", [0, 64, 2**32 * 4 - 64, 2**40])
def test_draws(instruction_set, first):
    key = 0x0123456789ABCDEF
    drawn = _core.draw(key, 3, 7, first, 640)
    assert np.array_equal(drawn, reference.draws(key, 7, first, 640, purpose=3))


def test_draws_of_streams_keys_and_purposes_differ():
    streams = [_core.draw(k, p, s, 0, 64) for k in (0, 1) for p in (0, 1) for s in (0, 1)]
    assert len({tuple(s) for s in streams}) == len(streams)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu"])
@pytest.mark.parametrize("bins", [(2, 3), (8, 8), (16, 13), (64, 64), (100, 300), (1024, 2)])
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("stages", [False, True])
def test_counts(instruction_set, generator, activation, bins, drop, stages):
    channel = channel_of(generator, activation, bins, drop, 0.3, stages)
    core = _core.CoreChannel(channel)
    for first, count in ((0, 1001), (640, 8192 + 77)):
        job = Job(99, 1, 5, 0, channel.n_in, first, count)
        counts = _core.pairs_count(core, job, CANCEL)
        edges = _core.pairs_reduce(core, job, job, counts, CANCEL)
        run = _core.pairs_run(core, job, CANCEL)
        single = _core.single_run(core, job, CANCEL)
        for name in ("information", "excess", "variance", "second", "spread", "dropped"):
            assert np.array_equal(getattr(edges, name), getattr(run, name)), name
        for output, input in ((0, 0), (3, 5)):
            table = reference.pair_table(channel, 99, first, count, 1 + output, input)
            assert np.array_equal(_core.pairs_table(core, job, counts, output, input), table)
            information = reference.mutual_information(table[:, :-1])
            assert edges.information[output, input] == pytest.approx(information, abs=1e-12)
            table = reference.single_table(channel, 99, first, count, 1 + output, input)
            information = reference.mutual_information(table[:, :-1])
            assert single.information[output, input] == pytest.approx(information, abs=1e-12)


@pytest.mark.parametrize(
    "bins", [*range(2, 40), 63, 64, 65, 127, 128, 255, 256, 257, 512, 1023, 1024]
)
def test_every_number_of_bins(instruction_set, bins):
    generator = np.random.default_rng(bins)
    channel = channel_of(generator, "tanh", (bins, bins), shape=(1, 2))
    core = _core.CoreChannel(channel)
    job = Job(7, 0, 1, 0, 2, 128, 333)
    counts = _core.pairs_count(core, job, CANCEL)
    table = reference.pair_table(channel, 7, 128, 333, 0, 1)
    assert np.array_equal(_core.pairs_table(core, job, counts, 0, 1), table)


@pytest.mark.parametrize("bins", [2, 4, 8, 16, 32, 64, 128, 6, 24, 63])
def test_masks_of_draws(instruction_set, generator, bins):
    """Made from the bits of a draw where the bins are a power of two, up to 64."""
    channel = channel_of(generator, "tanh", (bins, 3), shape=(2, 3))
    core = _core.CoreChannel(channel)
    job = Job(8, 0, 2, 0, 3, 64, 5000, masks=1)
    counts = _core.pairs_count(core, job, CANCEL)
    for output, input in ((0, 0), (1, 2)):
        table = reference.pair_table(channel, 8, 64, 5000, output, input)
        assert np.array_equal(_core.pairs_table(core, job, counts, output, input), table)


@pytest.mark.parametrize("weight", [0.0, 1e-300, -1e-12, 0.7, -3.0, 1e6, -1e140])
@pytest.mark.parametrize("bias", [0.0, -1e9, 0.2])
def test_single_tables(instruction_set, weight, bias):
    layer = Layer([[weight, 1.0]], [bias], "identity")
    channel = discretize(layer, Binning(8, 9, True, 0.25), (-1.0, 2.0), (-0.5, 0.5))
    core = _core.CoreChannel(channel)
    for count in (1, 63, 5000):
        table = _core.single_table(core, Job(5, 0, 1, 0, 1, 64, count))
        wanted = reference.single_table(channel, 5, 64, count, 0, 0)
        folded = np.zeros_like(wanted)
        for interval, label in enumerate(channel.rules[0].labels):
            folded[:, label] += table[:, interval].astype(np.int64)  # -1 is the last column
        assert np.array_equal(folded, wanted)


def test_outliers(instruction_set, generator):
    channel = channel_of(generator, "identity", (8, 8))
    job = Job(3, 0, 5, 0, 7, 0, 3000)
    core = _core.CoreChannel(channel)
    r = np.stack([reference.draws(3, k, 0, 3000) for k in range(7)])
    z = reference.evaluate(channel, reference.inputs(channel, r))
    outside = ((z < -0.1) | (z > 1.0)).sum(axis=1)
    assert outside.sum() > 0
    assert np.array_equal(_core.pairs_run(core, job, CANCEL).dropped, outside)
    singles = np.zeros(5, int)
    for k in range(7):
        z = channel.bias[:, None] + channel.weight[:, k, None] * reference.inputs(channel, r[k])
        singles += ((z < -0.1) | (z > 1.0)).sum(axis=1)
    assert np.array_equal(_core.single_run(core, job, CANCEL).dropped, singles)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not os.path.exists("/proc/cpuinfo"), reason="asks Linux"
)
def test_all_that_the_processor_has_is_found():
    """Whatever compiler made the core: one that knows of its baseline alone is slow in silence."""
    with open("/proc/cpuinfo") as file:
        flags = set(next(line for line in file if line.startswith("flags")).split())
    if os.environ.get("EIPLANE_ONLY"):
        pytest.skip("built for one instruction set")
    narrow = {"avx2", "bmi1", "bmi2", "abm", "popcnt"}
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vpopcntdq"}
    expected = ["baseline"]
    expected += ["avx2"] * (narrow <= flags) + ["avx512"] * (narrow | wide <= flags)
    assert _core.supported() == expected


def test_instruction_sets_agree(generator):
    channel = channel_of(generator, "gelu", (8, 8), stages=True)
    job = Job(1, 0, 5, 0, 6, 0, 2000)
    before = _core.active()
    results = []
    for name in _core.supported():
        _core.select(name)
        core = _core.CoreChannel(channel)
        edges = _core.pairs_run(core, job, CANCEL)
        single = _core.single_run(core, job, CANCEL)
        z = _core.evaluate(core, 1, 0, 640)
        results.append((edges.information, edges.variance, edges.spread, single.information, z))
    _core.select(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)


def test_population_counts(instruction_set, generator):
    for words in (8, 24, 64, 128, 136):
        x = generator.integers(0, 2**64, (3, words), dtype=np.uint64)
        y = generator.integers(0, 2**64, (17, words), dtype=np.uint64)
        x[0], y[0] = 2**64 - 1, 2**64 - 1
        wanted = [
            [sum((int(a) & int(b)).bit_count() for a, b in zip(p, q, strict=True)) for q in y]
            for p in x
        ]
        assert np.array_equal(_core.count_masks(x, y), wanted)


@pytest.mark.parametrize("m", [0, 1, 7, 24, 25, 63, 1023])
def test_labels(instruction_set, generator, m):
    thresholds = np.unique(generator.normal(size=m))
    values = np.concatenate(
        [generator.normal(size=1000), thresholds, [-0.0, 5e-324, -np.inf, np.inf]]
    )
    wanted = np.searchsorted(thresholds, values, side="right")
    assert np.array_equal(_core.label(values, thresholds), wanted)


def test_log2(instruction_set, generator):
    x = np.concatenate(
        [
            np.arange(0, 3000, dtype=float),
            2.0 ** generator.uniform(-60, 60, 3000),
            1 + generator.normal(size=1000) * 1e-8,
            [2.0**53, 1e300, 2.3e-308],
        ]
    )
    got = _core.log2(x)
    assert got[0] == 0.0
    exact = np.array([float(mpmath.log(mpmath.mpf(float(v)), 2)) for v in x[1:]])
    assert (np.abs(got[1:] - exact) <= 4e-16 * (1 + np.abs(exact))).all()
    powers = 2.0 ** np.arange(0, 50)
    assert np.array_equal(_core.log2(powers), np.arange(0, 50))


@pytest.mark.parametrize(
    "name",
    [
        *_core.ACTIVATIONS,
        "leaky_relu(0.2)",
        "elu(0.5)",
        "softplus(3)",
        "hardtanh(-2, 0.5)",
        "leaky_relu(-1)",
    ],
)
def test_activations(instruction_set, name):
    z = np.concatenate([np.linspace(-40, 40, 8001), [-700.0, 700.0, 1e-9, -1e-9, 0.0]])
    activation = get_activation(name)
    got = _core.activate(activation.kind, activation.parameters, z)
    wanted = activation(z)
    assert (np.abs(got - wanted) <= 3e-15 * (1 + np.abs(wanted))).all()


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "mish", "softplus", "elu"])
def test_activation_functions_by_high_precision(name):
    mp = mpmath.mp.clone()
    mp.dps = 40
    formulas = {
        "gelu": lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
        "gelu_tanh": lambda z: (
            z * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (z + mp.mpf(0.044715) * z**3))) / 2
        ),
        "silu": lambda z: z / (1 + mp.exp(-z)),
        "mish": lambda z: z * mp.tanh(mp.log(1 + mp.exp(z))),
        "softplus": lambda z: mp.log(1 + mp.exp(z)),
        "elu": lambda z: z if z > 0 else mp.expm1(z),
    }
    z = np.linspace(-9, 9, 181)
    exact = np.array([float(formulas[name](mp.mpf(float(v)))) for v in z])
    assert np.allclose(get_activation(name)(z), exact, rtol=1e-13, atol=1e-16)


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match="EIPLANE_CPU"):
        _core.select("mmx")


def test_cancel():
    channel = channel_of(np.random.default_rng(0), "tanh", (8, 8), shape=(50, 50))
    raised = np.ones(1, np.int32)
    for run in (_core.pairs_run, _core.single_run, _core.pairs_count):
        with pytest.raises(KeyboardInterrupt):
            run(_core.CoreChannel(channel), Job(0, 0, 50, 0, 50, 0, 10_000_000), raised)


def test_counts_too_large_for_memory():
    channel = channel_of(np.random.default_rng(0), "tanh", (1024, 1024), shape=(2, 2))
    job = Job(0, 0, 2**31, 0, 2**31, 0, 1)
    with pytest.raises(OverflowError):
        _core.pairs_size(_core.CoreChannel(channel), job)
    with pytest.raises(OverflowError, match="samples"):
        _core.single_run(_core.CoreChannel(channel), Job(0, 0, 2, 0, 2, 0, 2**31), CANCEL)


def test_information_of_tables(instruction_set):
    assert _core.information(np.eye(4, dtype=np.uint64) * 5)[0] == pytest.approx(2.0, abs=1e-15)
    assert _core.information(np.zeros((3, 2), np.uint64)) == (0.0, 0.0, 0.0)
    table = np.array([[3, 1], [1, 3]], np.uint64)
    information, excess, _ = _core.information(table)
    assert information == pytest.approx(1 - (-0.75 * math.log2(0.75) + 0.5), abs=1e-15)
    assert excess == pytest.approx((4 - 2 - 2 + 1) / (2 * 8 * math.log(2)))
