from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .network.channel import Channel

FOLLOWED: int
UNIT: float
FINE: float
ACTIVATIONS: dict[str, int]

class _Samples(Protocol):
    @property
    def key(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def count(self) -> int: ...

class _VectorSamples(_Samples, Protocol):
    @property
    def purpose(self) -> int: ...

class _Job(_Samples, Protocol):
    @property
    def out_start(self) -> int: ...
    @property
    def out_stop(self) -> int: ...
    @property
    def in_start(self) -> int: ...
    @property
    def in_stop(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def masks(self) -> int: ...

class _Points(Protocol):
    @property
    def factors(self) -> NDArray[np.uint32]: ...
    @property
    def shifts(self) -> NDArray[np.uint32]: ...
    @property
    def key(self) -> int: ...
    @property
    def purpose(self) -> int: ...

class CorePoints:
    def __init__(self, points: _Points) -> None: ...
    def draw(self, input: int, first: int, count: int) -> NDArray[np.uint32]: ...

class CoreChannel:
    def __init__(self, channel: Channel, narrow: bool = False) -> None: ...

class Edges:
    information: NDArray[np.float64]
    excess: NDArray[np.float64]
    variance: NDArray[np.float64]
    second: NDArray[np.float64]
    noise: NDArray[np.float64]
    doubt: NDArray[np.float64]
    spread: NDArray[np.int64]
    variances: NDArray[np.float64]
    dropped: NDArray[np.uint64]

def supported() -> list[str]: ...
def active() -> str: ...
def select(name: str | None) -> str: ...
def pairs_masked(channel: CoreChannel) -> bool: ...
def pairs_size(channel: CoreChannel, job: _Job) -> int: ...
def pairs_count(
    channel: CoreChannel, job: _Job, cancel: NDArray[np.int32], points: CorePoints | None = None
) -> NDArray[np.uint64]: ...
def pairs_count_each(
    channel: CoreChannel,
    jobs: Sequence[_Job],
    points: Sequence[CorePoints],
    cancel: NDArray[np.int32],
) -> NDArray[np.uint64]: ...
def replicates_reduce(
    channel: CoreChannel,
    job: _Job,
    part: _Job,
    counts: NDArray[np.uint64],
    cancel: NDArray[np.int32],
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.uint64],
]: ...
def replicates_variance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float: ...
def pairs_reduce(
    channel: CoreChannel,
    job: _Job,
    part: _Job,
    counts: NDArray[np.uint64],
    cancel: NDArray[np.int32],
) -> Edges: ...
def pairs_held(channel: CoreChannel, job: _Job) -> int: ...
def pairs_run(channel: CoreChannel, job: _Job, cancel: NDArray[np.int32]) -> Edges: ...
def pairs_table(
    channel: CoreChannel, job: _Job, counts: NDArray[np.uint64], output: int, input: int
) -> NDArray[np.uint64]: ...
def corrected(
    table: NDArray[np.uint64], sharing: int = 1
) -> tuple[tuple[float, float, float, float, float, float], NDArray[np.float64]]: ...
def single_run(channel: CoreChannel, job: _Job, cancel: NDArray[np.int32]) -> Edges: ...
def single_table(channel: CoreChannel, job: _Job) -> NDArray[np.uint64]: ...
def evaluate(channel: CoreChannel, key: int, first: int, count: int) -> NDArray[np.float64]: ...
def draw(key: int, purpose: int, stream: int, first: int, count: int) -> NDArray[np.uint32]: ...
def activate(
    name: str, parameters: Sequence[float], values: NDArray[np.float64]
) -> NDArray[np.float64]: ...
def quick_activate(
    name: str, values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
def log2(x: NDArray[np.float64]) -> NDArray[np.float64]: ...
def count_masks(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.uint64]: ...
def scatter(
    offsets: NDArray[np.uint32], labels: NDArray[np.uint16], cells: int
) -> NDArray[np.uint64]: ...
def label(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.uint16]: ...
def information(table: NDArray[Any]) -> tuple[float, float, float]: ...

class ExactRows:
    information: NDArray[np.float64]
    total: NDArray[np.float64]
    marginal: NDArray[np.float64]
    bound: NDArray[np.float64]
    outside: NDArray[np.float64]

def exact_parts(
    channel: CoreChannel,
    start: int,
    stop: int,
    cancel: NDArray[np.int32],
    into: NDArray[np.float64] | None = None,
) -> ExactRows: ...
def exact_marginals(
    channel: CoreChannel, start: int, stop: int, cancel: NDArray[np.int32]
) -> ExactRows: ...
def exact_sensitivity(
    channel: CoreChannel,
    start: int,
    stop: int,
    cancel: NDArray[np.int32],
    into: NDArray[np.float64] | None = None,
) -> ExactRows: ...
def exact_totals(
    channel: CoreChannel,
    start: int,
    stop: int,
    cancel: NDArray[np.int32],
    alone: bool,
    together: bool,
) -> tuple[ExactRows | None, ExactRows | None]: ...
def row_sums(weight: NDArray[Any]) -> NDArray[np.float64]: ...
def row_extremes(sums: NDArray[np.float64]) -> tuple[float, float, float]: ...
def row_ends(
    sums: NDArray[np.float64], bias: NDArray[np.float64], lo: float, hi: float
) -> tuple[float, float]: ...
def summary(
    total: NDArray[np.float64], bound: NDArray[np.float64], outside: NDArray[np.float64]
) -> tuple[float, float, float]: ...
def total(x: NDArray[np.float64]) -> float: ...

class Budget:
    def __init__(self, limit: int) -> None: ...

class Counter:
    def __init__(self, words: int, bits: int, budget: Budget) -> None: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...
    def add(self, keys: NDArray[np.uint64], weights: NDArray[np.uint64]) -> NDArray[np.uint32]: ...
    def view(self) -> NDArray[np.uint64]: ...
    def entries(self) -> NDArray[np.uint64]: ...
    def read_into(self, out: NDArray[np.uint64]) -> None: ...

class _DrawJob(_VectorSamples, Protocol):
    @property
    def sets(self) -> Sequence[Sequence[int]]: ...
    @property
    def margins(self) -> bool: ...

class _CountJob(_DrawJob, Protocol):
    @property
    def pairs(self) -> Sequence[tuple[int, int]]: ...
    @property
    def set_counters(self) -> list[Counter]: ...
    @property
    def pair_counters(self) -> list[Counter]: ...

class _CellsJob(_VectorSamples, Protocol):
    @property
    def given(self) -> NDArray[np.uint8]: ...
    @property
    def strata(self) -> Sequence[int]: ...
    @property
    def draws(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def outputs(self) -> Sequence[int]: ...
    @property
    def gains(self) -> NDArray[np.float64]: ...

def vector_size(channel: CoreChannel, rows: Sequence[int]) -> tuple[int, int]: ...
def joint_count(
    channel: CoreChannel, job: _CountJob, cancel: NDArray[np.int32]
) -> tuple[NDArray[np.uint64] | None, int, int]: ...
def joint_draw(
    channel: CoreChannel,
    job: _DrawJob,
    keys: Sequence[NDArray[np.uint64]],
    first: int,
    cancel: NDArray[np.int32],
) -> tuple[NDArray[np.uint64] | None, int, int]: ...
def shard_vectors(
    counter: Counter,
    keys: NDArray[np.uint64],
    ends: NDArray[np.uint64],
    shard: tuple[int, int],
    places: NDArray[np.uint32],
    cancel: NDArray[np.int32],
) -> None: ...
def shard_pairs(
    counter: Counter,
    one: NDArray[np.uint32],
    two: NDArray[np.uint32],
    ends: NDArray[np.uint64],
    shard: tuple[int, int],
    cancel: NDArray[np.int32],
) -> None: ...
def shard_places(
    counter: Counter,
    one: NDArray[np.uint64],
    two: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None: ...
def joint_moments(
    entries: NDArray[np.uint64], one: NDArray[np.int32], two: NDArray[np.int32]
) -> tuple[int, int]: ...
def joint_cells(
    channel: CoreChannel, job: _CellsJob, each: bool, cancel: NDArray[np.int32]
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64] | None,
    NDArray[np.uint32],
    NDArray[np.bool_],
    int,
]: ...

class _WideJob(Protocol):
    @property
    def iterations(self) -> int: ...
    @property
    def damping(self) -> float: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def sweeps(self) -> int: ...
    @property
    def by_inputs(self) -> bool: ...
    @property
    def key(self) -> int: ...
    @property
    def purpose(self) -> int: ...

def affine(
    weight: NDArray[np.float64], bias: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]: ...
def wide_run(
    job: _WideJob,
    weight: NDArray[np.float64],
    in_lo: NDArray[np.float64],
    in_hi: NDArray[np.float64],
    out_lo: NDArray[np.float64],
    out_hi: NDArray[np.float64],
    correct: NDArray[np.uint8],
    stream: NDArray[np.uint32],
    cancel: NDArray[np.int32],
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
]: ...

class _BoundsJob(Protocol):
    @property
    def uniform(self) -> float: ...
    @property
    def bins(self) -> int: ...
    @property
    def block(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def again(self) -> int: ...
    @property
    def damping(self) -> float: ...

def given_entropy(
    parts: NDArray[np.float64],
    steps: NDArray[np.float64],
    bins: int,
    cuts: NDArray[np.float64],
    kind: NDArray[np.int32],
    kinds: int,
    half: float,
    points: tuple[int, int, int],
    good: float,
    all_cuts: NDArray[np.float64],
    all_kind: NDArray[np.int32],
    cancel: NDArray[np.int32],
) -> tuple[float, float, float, float]: ...
def sums_highest(parts: NDArray[np.float64]) -> float: ...
def sums_waves(
    parts: NDArray[np.float64], steps: NDArray[np.float64], bins: int, step: float, count: int
) -> NDArray[np.float64]: ...
def bounds_forward(
    job: _BoundsJob,
    weight: NDArray[np.float64],
    lo: NDArray[np.float64],
    hi: NDArray[np.float64],
    cancel: NDArray[np.int32],
) -> NDArray[np.float64]: ...
def bounds_backward(
    job: _BoundsJob,
    weight: NDArray[np.float64],
    lo: NDArray[np.float64],
    hi: NDArray[np.float64],
    v: NDArray[np.float64],
    cancel: NDArray[np.int32],
) -> NDArray[np.float64]: ...
