"""Counting: increments a second of the two kernels, against a plain C scatter loop.

An increment is one (sample, edge) pair. Where the two cross is what ``mask_limit`` in
csrc/kernels/kernels_*.c says.
"""

from __future__ import annotations

import numpy as np
import pytest

from eiplane import _core

SAMPLES, INPUTS, OUTPUTS = 8192, 16, 16


def bins_of(generator, count, bins):
    return generator.integers(0, bins, (count, SAMPLES)).astype(np.uint16)


def masks_of(labels, bins):
    """Thermometer masks, (neurons, bins - 1, words)."""
    above = labels[:, None, :] >= np.arange(1, bins)[:, None]
    return np.packbits(above, axis=-1, bitorder="little").view(np.uint64)


def tables_of(x, y, bins):
    return np.array(
        [[np.bincount(a.astype(int) * bins + b, minlength=bins * bins) for a in x] for b in y]
    ).reshape(len(y), len(x), bins, bins)


def report(benchmark, bins, way):
    increments = SAMPLES * INPUTS * OUTPUTS
    benchmark.extra_info |= {
        "ns_an_increment": benchmark.stats["median"] / increments * 1e9,
        "bins": bins,
        "way": way,
    }


@pytest.mark.parametrize("bins", [8, 16, 32, 64])
@pytest.mark.benchmark(group="counting")
def test_plain(benchmark, generator, plain_scatter, bins):
    x, y = bins_of(generator, INPUTS, bins), bins_of(generator, OUTPUTS, bins)
    tables = benchmark(plain_scatter, x, y, bins)
    assert np.array_equal(tables, tables_of(x, y, bins))
    report(benchmark, bins, "plain C scatter")


@pytest.mark.parametrize("bins", [8, 16, 32, 64])
@pytest.mark.benchmark(group="counting")
def test_scatter(benchmark, generator, bins):
    x, y = bins_of(generator, INPUTS, bins), bins_of(generator, OUTPUTS, bins)
    offsets = x.astype(np.uint32) * bins
    tables = benchmark(lambda: [_core.scatter(a, y, bins * bins) for a in offsets])
    got = np.array(tables).reshape(INPUTS, OUTPUTS, bins, bins).transpose(1, 0, 2, 3)
    assert np.array_equal(got, tables_of(x, y, bins))
    report(benchmark, bins, "interleaved scatter")


@pytest.mark.parametrize("bins", [4, 8, 12, 16, 20])
@pytest.mark.benchmark(group="counting")
def test_masks(benchmark, generator, instruction_set, bins):
    x, y = bins_of(generator, INPUTS, bins), bins_of(generator, OUTPUTS, bins)
    mx, my = masks_of(x, bins), masks_of(y, bins)

    def count():
        return [[_core.count_masks(a, b) for a in mx] for b in my]

    cumulative = np.array(benchmark(count))
    tables = tables_of(x, y, bins)
    tail = tables[..., ::-1, ::-1].cumsum(-1).cumsum(-2)[..., ::-1, ::-1]
    assert np.array_equal(cumulative, tail[..., 1:, 1:])
    report(benchmark, bins, f"bit masks, {instruction_set}")
