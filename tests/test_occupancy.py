"""The bias of sampled edges, and what is said of it: by the exact engine and the slow twin."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import eiplane
from eiplane import _core
from eiplane.reference import corrected, moments

EDGES = {"ei_parts": "pairwise_ei", "sensitivity": "pairwise_sensitivity"}


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def both(weights, activation, which, samples, seed, **options):
    """Return the exact and the sampled measure."""
    options = {"measures": which, "progress": False} | options
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = eiplane.analyze(weights, activation, method="exact", **options)[0]
        drawn = eiplane.analyze(
            weights, activation, method="sample", samples=samples, rng=seed, **options
        )[0]
    return getattr(exact, EDGES[which]), getattr(drawn, EDGES[which])


def test_the_moments_are_those_of_a_simulation():
    """The variances take what is left of m cells for m - 1 independent ones: nearly right."""
    rng = np.random.default_rng(0)
    for c, m in ((1, 4), (3, 8), (30, 8), (500, 64)):
        counts = rng.multinomial(c, np.full(m, 1 / m), 40_000)
        occupied = (counts > 0).sum(axis=1)
        logs = np.log2(np.maximum(counts, 1))
        length = (counts * logs).sum(axis=1)
        square = (counts * (logs - math.log2(c / m)) ** 2).sum(axis=1)
        both_vary = np.cov(length, occupied)
        drawn = [
            occupied.mean(), length.mean() - c * math.log2(c / m), square.mean(), both_vary[0, 0],
            both_vary[0, 1], both_vary[1, 1],
        ]  # fmt: skip
        np.testing.assert_allclose(moments(c, m), drawn, rtol=0.1, atol=0.01)


def test_the_core_is_its_twin(instruction_set):
    rng = np.random.default_rng(1)
    for _ in range(60):
        shape, samples = rng.integers(2, 40, 2), int(2 ** rng.uniform(0.1, 12))
        likely = rng.dirichlet(np.full(shape.prod(), rng.choice([0.02, 0.3, 5.0])))
        table = rng.multinomial(samples, likely).reshape(shape)
        sharing = int(rng.choice([1, 5, 100]))
        twin = corrected(table, sharing)
        numbers, influence = _core.corrected(table.astype(np.uint64), sharing)
        names = ("information", "excess", "variance", "second", "noise", "doubt")
        for name, value in zip(names, numbers, strict=True):
            # Expanded where there are many samples a cell; a table may lie between two slopes.
            loose = 0.15 if name in ("second", "variance") else 1e-3
            assert value == pytest.approx(getattr(twin, name), rel=loose, abs=1e-6), name
        np.testing.assert_allclose(influence, twin.influence, atol=1e-4)


def test_many_samples_are_corrected_as_miller_and_madow_have_it():
    rng = np.random.default_rng(2)
    table = rng.multinomial(10**6, rng.dirichlet(np.full(48, 50.0))).reshape(6, 8)
    (_, excess, *_), _ = _core.corrected(table.astype(np.uint64))
    assert excess == pytest.approx(35 / (2e6 * math.log(2)), rel=1e-2)


def test_few_samples_of_many_bins():
    """100 inputs, 32 bins, 1,000 samples: 400 bits, said to be right to 9, where there are 29."""
    weights = np.random.default_rng(3).normal(size=(10, 100)) / 5.0
    scores = []
    for seed in range(4):
        exact, drawn = both(weights, "identity", "ei_parts", 1000, seed, bins=32)
        assert abs(drawn.total - exact.total) < 0.3 * exact.total
        assert drawn.stderr < 0.3 * exact.total
        assert drawn.total_plugin > 20 * exact.total
        scores.append((drawn.total - exact.total) / drawn.stderr)
    assert rms(scores) < 3.0


@pytest.mark.parametrize("which", EDGES)
@pytest.mark.parametrize("bins", [(2, 2), (8, 8), (64, 64), (2, 64), (64, 2)])
def test_the_error_is_what_it_is_said_to_be(which, bins):
    """Over layers of 1 to 60 inputs and 100 to 10^5 samples; never far too small."""
    rng = np.random.default_rng([*bins, len(which)])
    totals, edges = [], []
    for samples in (100, 1000, 10_000, 100_000):
        for n_in in (1, 2, 4, 60):
            for activation in ("identity", "tanh", "relu"):
                weights = rng.normal(size=(3, n_in)) * rng.choice([1.0, 3.0]) / math.sqrt(n_in)
                exact, drawn = both(weights, activation, which, samples, samples + n_in, bins=bins)
                totals.append((drawn.total - exact.total) / max(drawn.stderr, 1e-9))
                edges.append(
                    rms((drawn.edges - exact.edges) / np.maximum(drawn.edges_stderr, 1e-9))
                )
    # 48 layers: an error that is right gives 0.8 to 1.2.
    assert 0.5 < rms(totals) < 1.6
    assert np.max(np.abs(totals)) < 8.0
    assert rms(edges) < 1.8


@pytest.mark.parametrize("outliers", ["clip", "drop"])
def test_corrected_edges_pass_no_bound_by_more_than_their_error(outliers):
    rng = np.random.default_rng(5)
    for samples in (2, 3, 10, 50, 1000):
        for bins in ((2, 2), (4, 64), (64, 4), (32, 32)):
            for n_in in (1, 5):
                weights = rng.normal(size=(3, n_in))
                for which in EDGES:
                    _, drawn = both(
                        weights, "identity", which, samples, n_in, bins=bins, outliers=outliers,
                        out_range=(-0.5, 1.0),
                    )  # fmt: skip
                    most = math.log2(min(bins))
                    assert (drawn.edges - most <= drawn.edges_stderr + 1e-9).all()
                    assert np.isfinite(drawn.edges).all()
                    assert np.isfinite(drawn.edges_stderr).all()
                    assert (drawn.edges >= -6 * drawn.edges_stderr - 1e-9).all()
                    if which == "ei_parts":
                        assert drawn.total - 3 * math.log2(bins[1]) <= drawn.stderr + 1e-9
