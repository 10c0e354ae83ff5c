"""Quantiles and ranges of streams, against numpy on the whole stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eiplane.run import Extent, QuantileSketch

QUANTILES = (0.0, 1e-5, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.99999, 1.0)


def sketch_of(batches, **options):
    sketch = QuantileSketch(**options)
    for batch in batches:
        sketch.add(batch)
    return sketch


def rank_off(whole, value, q):
    """How far the rank of a value is from that of a quantile: nothing where it has both."""
    first = np.searchsorted(whole, value, side="left") + 1
    last = np.searchsorted(whole, value, side="right")
    assert last >= first, f"{value} is no number of the stream"
    rank = 1 + q * (len(whole) - 1)
    return max(0.0, first - rank, rank - last)


def inwards(ordered):
    """From both ends to the middle."""
    found = np.empty_like(ordered)
    found[::2], found[1::2] = ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :][::-1]
    return found


def nested(batches, size):
    """Each batch lies between two neighbours of the one before."""
    low, high = 0.0, 1.0
    for i in range(batches):
        batch = np.linspace(low, high, size)
        yield batch
        at = i * 7 % (size - 2)
        low, high = batch[at], batch[at + 1]


def into_the_widest(batches, size):
    """Each batch lies where the sketch knows least."""
    sketch = QuantileSketch()
    batch = np.linspace(0.0, 1.0, size)
    for _ in range(batches):
        yield batch
        sketch.add(batch)
        sketch.rank_error(0.5)  # sorts in what waits
        gaps = sketch._last[1:] - sketch._first[:-1]
        at = np.argmax(gaps / np.minimum(sketch._first[:-1], sketch.count + 1 - sketch._last[1:]))
        low, high = sketch._values[at : at + 2]
        batch = np.linspace(low, high, size + 2)[1:-1]


def streams(n=200_000):
    generator = np.random.default_rng(0)
    normal = generator.standard_normal(n)
    ordered = np.sort(normal)
    return {
        "normal": np.array_split(normal, 17),
        "tiny batches": np.array_split(normal[: n // 4], 5000),
        "one batch": [normal],
        "single precision": np.array_split(normal.astype(np.float32), 5),
        "ascending": np.array_split(ordered, 90),
        "descending": np.array_split(ordered[::-1], 90),
        "inwards": np.array_split(inwards(ordered), 90),
        "outwards": np.array_split(inwards(ordered)[::-1], 90),
        "growing": [generator.standard_normal(50 * (1 + i)) * i + i * i for i in range(120)],
        "heavy tails": np.array_split(generator.standard_cauchy(n), 11),
        "nine zeros in ten": np.array_split(np.maximum(normal - 1.28, 0.0), 20),
        "three values": np.array_split(generator.integers(0, 3, n), 20),
        "constant": [np.full(n // 8, -2.5)] * 8,
        "nested": list(nested(100, n // 100)),
        "into the widest gap": list(into_the_widest(20, n // 20)),
    }


@pytest.fixture(scope="module")
def all_streams():
    return streams()


@pytest.mark.parametrize("name", list(streams(4000)))
def test_the_error_is_what_is_said(all_streams, name):
    batches = all_streams[name]
    sketch = sketch_of(batches)
    whole = np.sort(np.concatenate([np.ravel(b) for b in batches]))
    assert sketch.count == len(whole)
    for q in QUANTILES:
        off = rank_off(whole, sketch.quantile(q), q)
        assert off <= sketch.rank_error(q) * len(whole) + 1e-6
        nearer = (len(whole) + 1) * min(q, 1 - q)
        assert sketch.rank_error(q) * len(whole) <= 1 + min(nearer / 64, len(whole) / 1024)
    assert (sketch.quantile(0), sketch.quantile(1)) == (whole[0], whole[-1])


def test_the_values_are_near_too(all_streams):
    whole = np.concatenate(all_streams["normal"])
    sketch = sketch_of(all_streams["normal"])
    found = [sketch.quantile(q) for q in (0.001, 0.5, 0.999)]
    assert found == pytest.approx(np.quantile(whole, (0.001, 0.5, 0.999)), abs=0.02)


def test_memory_does_not_grow():
    generator = np.random.default_rng(1)
    sketch, most = QuantileSketch(), 0
    for _ in range(300):
        sketch.add(generator.standard_normal(20_000).astype(np.float32))
        most = max(most, len(sketch))
    assert sketch.count == 6_000_000
    assert most <= (1 << 15) + (1 << 13)  # what waits, and the capacity


def test_too_small_a_capacity_is_said(all_streams):
    whole = np.sort(np.concatenate(all_streams["normal"]))
    sketch = sketch_of(all_streams["normal"], capacity=64)
    for q in QUANTILES:
        assert rank_off(whole, sketch.quantile(q), q) <= sketch.rank_error(q) * len(whole) + 1e-6
    assert sketch.rank_error(0.01) > 0.01 / 64
    assert sketch.rank_error(0.5) < 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e300, 1e300), max_size=40), min_size=1, max_size=30),
    st.integers(8, 40),
    st.floats(0, 1),
)
def test_any_stream(batches, capacity, q):
    import eiplane.run.quantiles as module

    whole = np.sort(np.concatenate(batches))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WAITING", 16)
        sketch = sketch_of(batches, capacity=capacity)
        if not len(whole):
            with pytest.raises(ValueError, match="empty stream"):
                sketch.quantile(q)
            return
        found = sketch.quantile(q)
        if len(sketch) == len(whole):
            assert found == float(np.quantile(whole, q))
        else:
            assert rank_off(whole, found, q) <= sketch.rank_error(q) * len(whole) + 1e-6


def test_a_short_stream_is_exact():
    values = np.random.default_rng(2).standard_normal((3, 500))
    sketch = sketch_of(values)
    for q in QUANTILES:
        assert sketch.quantile(q) == float(np.quantile(values, q))
        assert sketch.rank_error(q) == 0


def test_the_same_stream_gives_the_same_answers(all_streams):
    one, other = (sketch_of(all_streams["growing"]) for _ in range(2))
    assert [one.quantile(q) for q in QUANTILES] == [other.quantile(q) for q in QUANTILES]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        QuantileSketch().add([0.0, bad])
    with pytest.raises(ValueError, match=r"1 (NaN|infinite) of 3 numbers"):
        Extent((0.0, 1.0)).add([[0.0, bad, 1.0]])


def extent_of(values, quantiles):
    extent = Extent(quantiles)
    extent.add(values)
    return extent.range


def test_an_extent():
    values = np.random.default_rng(3).standard_normal(5000)
    assert extent_of(values, (0.0, 1.0)) == (values.min(), values.max())
    assert extent_of(values, (0.1, 0.7)) == tuple(np.quantile(values, (0.1, 0.7)))
    assert extent_of([], (0.0, 1.0)) is None
    assert extent_of([2.0, 2.0], (0.001, 0.999)) == (1.5, 2.5)  # as out_range="auto" has it
    rare = np.zeros(100_000)
    rare[:20] = 3.0
    assert extent_of(rare, (0.001, 0.999)) == (0.0, 3.0)
