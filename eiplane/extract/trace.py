"""Following the outputs of linear maps through a computation, whatever runs it.

A front end (torch modules, ONNX graphs) runs a network once on an example input and reports what it
does; a :class:`Trace` finds the layers in that. Beside every tensor it keeps an :class:`Info`:

* *parts*, which linear maps' outputs the tensor holds, and as which function of them. A function is
  known by its values at fixed probe points: the front end applies every elementwise operation to
  the probes too. So ``F.gelu(z)`` and GELU written out in five operations are recognised alike.
* *codes*, an integer array of the tensor's shape: which output of which part each entry is.
  Whatever moves entries about (reshape, transpose, chunk, concatenation) moves the codes as well.

What finally consumes a linear map's output (another map, a sum, a softmax) fixes its activation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Layer, Network, Pool, get_activation
from ..results import Skipped
from .arrays import plain
from .probe import PROBE, affine, recognise, scaled

__all__ = ["UNKNOWN", "Convolution", "Info", "Trace"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Entries of the matrix of a pooled convolution's whole receptive field, at most (256 MiB).
MOST_POOLED_ENTRIES = 1 << 25

#: Of the codes: part number times this, plus the row.
_STRIDE = 1 << 40


@dataclass(frozen=True)
class Convolution:
    """How a convolution moves over its input, along every axis of its kernel."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1


@dataclass(eq=False)
class _Node:
    """One use of one linear map."""

    name: str
    key: Any
    weight: Any
    bias: Any
    conv: Convolution | None
    n_out: int
    feeds: list[_Feed] | None = None
    bounds: tuple[float, float] | None = None
    straight: bool = False
    uses: list[_Use] = field(default_factory=list)
    fixed: str | None = None


@dataclass(frozen=True, eq=False)
class _Fold:
    """A scale and a shift of every output before the activation, such as batch normalisation's."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class _Function:
    """What follows a linear map: recognised or not."""

    activation: str | None
    fold: _Fold | None = None
    scale: float = 1.0
    shift: float = 0.0
    exact: bool = True
    unknown: str = ""


@dataclass(frozen=True)
class _Pooled:
    kind: str
    window: tuple[int, ...]
    step: tuple[int, ...]
    before: _Function


@dataclass(frozen=True, eq=False)
class Part:
    """The outputs of a linear map, or a function of them."""

    node: _Node
    values: NDArray[Any]
    fold: _Fold | None = None
    pooled: _Pooled | None = None
    settled: str | None = None
    prefix: tuple[float, float] | None = None
    last: str = ""
    closed: bool = False


@dataclass(frozen=True)
class _Use:
    part: Part
    rows: NDArray[np.intp]
    weak: bool
    unknown: str


@dataclass(frozen=True)
class _Feed:
    part: Part
    rows: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Info:
    """What is known of one tensor.

    Parameters
    ----------
    dynamic : bool
        Whether it depends on the network's input.
    names : frozenset of str
        Parameters that a constant tensor is made of.
    parts : tuple of Part
    codes : ndarray of int64, optional
        Of the tensor's shape; -1 where an entry belongs to no part. None with parts: where the
        entries are is not known any more.
    bounds : tuple of float, optional
        A range that it cannot leave.
    """

    dynamic: bool = True
    names: frozenset[str] = frozenset()
    parts: tuple[Part, ...] = ()
    codes: Codes | None = None
    bounds: tuple[float, float] | None = None


UNKNOWN = Info()
Apply = Callable[[list[Any]], Any]


def _spread(values: Codes, shape: tuple[int, ...], axis: int) -> Codes:
    """Return an array of that shape that varies along one axis only, without holding it."""
    strides = [0] * len(shape)
    strides[axis] = values.strides[0]
    return np.lib.stride_tricks.as_strided(values, shape, strides)


def _codes_of(n: int, shape: Sequence[int], axis: int) -> Codes:
    """Return the codes of a fresh output: its rows along one axis."""
    return _spread(np.arange(n, dtype=np.int64), tuple(shape), axis)


def _broadcast(codes: Codes, shape: tuple[int, ...]) -> Codes:
    """Return a broadcast array that counts as writable, as torch wants it, though nobody writes."""
    view = np.broadcast_to(codes, shape)
    return np.lib.stride_tricks.as_strided(codes, shape, view.strides)


def _core(codes: Codes) -> Codes:
    """Return the entries without those axes along which nothing changes."""
    return codes[tuple(0 if s == 0 and n > 0 else slice(None) for s, n in _layout(codes))]


def _layout(codes: Codes) -> list[tuple[int, int]]:
    return list(zip(codes.strides, codes.shape, strict=True))


def _function(part: Part) -> _Function:
    """Return the function of the (folded) linear map that a part holds."""
    name = recognise(part.values)
    if name is not None:
        return _Function(name, part.fold)
    if affine(part.values) is not None:
        return _Function("identity", part.fold, exact=False)
    if part.prefix is not None:
        name = scaled(part.values, part.prefix)
        if name is not None:
            return _Function(name, part.fold, *part.prefix)
    if part.settled is not None:
        return _Function(part.settled, part.fold, exact=False)
    return _Function(None, unknown=f"its output goes through {part.last}, which is no activation "
                     "that eiplane knows")  # fmt: skip


class Trace:
    """What a network did in one run, and the layers in it."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self.noted: dict[str, str] = {}

    # -- what a front end reports -------------------------------------------------------------

    def linear(
        self,
        name: str,
        key: Any,
        weight: Any,
        bias: Any,
        x: Info,
        shape: Sequence[int],
        axis: int = -1,
        in_axis: int = -1,
        conv: Convolution | None = None,
    ) -> Info:
        """Report a linear map.

        Parameters
        ----------
        name : str
        key : hashable
            The same for every use of the same weights.
        weight : array, shape (n_out, n_in / groups, *kernel)
        bias : array, shape (n_out,), or None
        x : Info
            Of its input.
        shape : sequence of int
            Of its output.
        axis, in_axis : int
            Where the features are in output and input, counted from the end.
        conv : Convolution, optional

        Returns
        -------
        Info
            Of its output.
        """
        n_out = int(weight.shape[0])
        node = _Node(name, key, weight, bias, conv, n_out)
        node.feeds, node.bounds = self._feeds(x), x.bounds
        node.straight = conv is None and _is_straight(x, in_axis)
        self._nodes.append(node)
        part = Part(node, PROBE)
        return Info(parts=(part,), codes=_codes_of(n_out, shape, axis))

    def gate(
        self,
        name: str,
        key: Any,
        weight: Any,
        bias: Any,
        activation: str,
        x: Info | None,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        """Report a linear map whose activation is known and whose output goes nowhere else.

        Parameters
        ----------
        name, key, weight, bias
            As in :meth:`linear`.
        activation : str
        x : Info or None
            Of its input; None if that is no tensor that the trace has seen.
        bounds : tuple of float, optional
            A range that its input cannot leave.
        """
        node = _Node(name, key, weight, bias, None, int(weight.shape[0]), fixed=activation)
        if x is not None:
            node.feeds, node.bounds = self._feeds(x), x.bounds
            node.straight = _is_straight(x, -1)
        if bounds is not None:
            node.bounds = bounds
        self._nodes.append(node)

    def elementwise(
        self, name: str, infos: Sequence[Info], apply: Apply, shape: Sequence[int]
    ) -> Info:
        """Report an elementwise operation.

        Parameters
        ----------
        name : str
        infos : sequence of Info
            Of its operands that are tensors of more than one entry, in order.
        apply : callable
            Takes probe values in the place of those operands; returns the result's.
        shape : sequence of int
            Of the result.

        Returns
        -------
        Info
        """
        tagged = [i for i in infos if i.parts]
        if not tagged:
            return UNKNOWN
        first = tagged[0]
        if len(tagged) < len(infos) or not all(_aligned(first, other) for other in tagged[1:]):
            return self.mix(infos)
        if first.codes is None or first.codes.shape != tuple(shape):
            return self.mix(infos)
        parts = []
        for operands in zip(*(i.parts for i in infos), strict=True):
            values = np.asarray(apply([p.values.copy() for p in operands]))
            parts.append(_applied(name, operands, values))
        return Info(parts=tuple(parts), codes=first.codes)

    def shift(self, x: Info, constant: Array) -> Info | None:
        """Report the addition of a constant array to a raw linear map without bias.

        Parameters
        ----------
        x : Info
        constant : ndarray of float64, broadcast to the tensor's shape

        Returns
        -------
        Info or None
            None if it is no bias: not one number for each output.
        """
        if len(x.parts) != 1 or x.codes is None:
            return None
        part = x.parts[0]
        if part.node.bias is not None or part.fold or part.pooled or part.closed:
            return None
        if recognise(part.values) != "identity" or (x.codes < 0).any():
            return None
        rows = x.codes.reshape(-1) % _STRIDE
        shift = np.full(part.node.n_out, np.nan)
        shift[rows] = constant.reshape(-1)
        if np.isnan(shift).any() or not np.array_equal(shift[rows], constant.reshape(-1)):
            return None
        fold = _Fold(np.ones(part.node.n_out), shift)
        return replace(x, parts=(replace(part, fold=fold),))

    def spatial_axes(self, x: Info) -> int:
        """Return the number of axes over which the convolution moved that made a tensor, or 0."""
        conv = x.parts[0].node.conv if x.parts and x.codes is not None else None
        return len(conv.stride) if conv is not None else 0

    def normalise(self, x: Info, scale: Array, shift: Array, axis: int) -> Info:
        """Report a scale and a shift for each channel, as batch normalisation has in use.

        Parameters
        ----------
        x : Info
        scale, shift : ndarray of float64, one number a channel
        axis : int
            Of the channels.

        Returns
        -------
        Info
        """
        if not x.parts or x.codes is None:
            return UNKNOWN
        channels = np.moveaxis(x.codes, axis, 0)
        kept = (0 if s == 0 else slice(None) for s in channels.strides[1:])
        flat = channels[(slice(None), *kept)].reshape(len(channels), -1)
        if (flat != flat[:, :1]).any() or (flat < 0).any() or len(flat) != len(scale):
            return self.mix([x])
        if len(np.unique(flat[:, 0])) < len(flat):
            return self.mix([x])
        parts = []
        for k, part in enumerate(x.parts):
            mean = part.pooled is None or (
                part.pooled.kind == "mean" and part.pooled.before == _Function("identity")
            )
            if part.fold or part.closed or not mean or recognise(part.values) != "identity":
                return self.mix([x])
            mine = flat[:, 0] // _STRIDE == k
            rows = flat[mine, 0] % _STRIDE
            by_row, moved = np.ones(part.node.n_out), np.zeros(part.node.n_out)
            by_row[rows], moved[rows] = scale[mine], shift[mine]
            fold = _Fold(by_row, moved)
            if part.pooled is not None:
                before = replace(part.pooled.before, fold=fold)
                part = replace(part, pooled=replace(part.pooled, before=before))
            parts.append(replace(part, fold=fold))
        return replace(x, parts=tuple(parts), bounds=None)

    def move(self, infos: Sequence[Info], apply: Apply) -> Any:
        """Report an operation that only moves entries about.

        Parameters
        ----------
        infos : sequence of Info
            Of the tensors that it moves.
        apply : callable
            Takes arrays of codes in the place of those tensors, None for one without parts (whose
            codes are all -1: the front end knows its shape); returns the result's codes, an array
            or a list of them.

        Returns
        -------
        Info or list of Info
        """
        if any(i.parts and i.codes is None for i in infos):
            carried = self.carry(infos) if len(infos) > 1 else infos[0]
            return _like(apply([None] * len(infos)), lambda _: carried)
        parts: list[Part] = []
        codes: list[Codes | None] = []
        for info in infos:
            if info.codes is None:
                codes.append(None)
                continue
            places = []
            for part in info.parts:
                place = next((k for k, p in enumerate(parts) if p is part), len(parts))
                parts += [part] if place == len(parts) else []
                places.append(place)
            codes.append(_renumbered(info.codes, places))
        bounds = infos[0].bounds if len({i.bounds for i in infos}) == 1 else None
        dynamic = any(i.dynamic for i in infos)
        kept = tuple(parts)
        return _like(
            apply(list(codes)),
            lambda c: Info(dynamic, parts=kept, codes=c if kept else None, bounds=bounds),
        )

    def pool(
        self,
        x: Info,
        kind: str,
        window: Sequence[int],
        dilation: Sequence[int],
        shape: Sequence[int],
        keepdim: bool = True,
    ) -> Info:
        """Report a pooling over the last axes.

        Parameters
        ----------
        x : Info
        kind : str
            ``"max"`` or ``"mean"``.
        window, dilation : sequence of int
            One for each pooled axis.
        shape : sequence of int
            Of the result.
        keepdim : bool
            Whether the pooled axes are still there.

        Returns
        -------
        Info
        """
        if not x.parts:
            return Info(bounds=x.bounds)
        axes = len(window)
        codes = x.codes
        if codes is None or codes.ndim <= axes:
            return self.carry([x])
        first: tuple[Any, ...] = (..., *(slice(0, 1),) * axes)
        still = codes[first]
        if all(n == 1 for n in window) and codes.shape == tuple(shape):
            return x
        constant = all(s == 0 for s in codes.strides[-axes:]) or bool((still == codes).all())
        if not constant or (_core(codes) < 0).any():
            return self.carry([x])
        moved = still if keepdim else still.reshape(still.shape[:-axes])
        if all(n == 1 for n in window):  # it only leaves places out
            return replace(x, codes=_broadcast(moved, tuple(shape)))
        parts = []
        for part in x.parts:
            conv = part.node.conv
            if conv is None or len(conv.stride) != axes or part.pooled or part.closed:
                return self.carry([x])
            step = tuple(s * d for s, d in zip(conv.stride, dilation, strict=True))
            pooled = _Pooled(kind, tuple(window), step, _function(part))
            part = replace(part, values=PROBE, pooled=pooled, settled=None, prefix=None)
            parts.append(part)
        return Info(parts=tuple(parts), codes=_broadcast(moved, tuple(shape)))

    def carry(self, infos: Sequence[Info]) -> Info:
        """Report an operation whose results stay in the range of its operands, such as pooling."""
        self.mix(infos)
        bounds = infos[0].bounds if len({i.bounds for i in infos}) == 1 else None
        if not all(i.parts for i in infos) or any(
            i.codes is not None and (i.codes < 0).any() for i in infos
        ):
            return Info(bounds=bounds)
        parts = tuple(replace(p, closed=True) for i in infos for p in i.parts)
        return Info(parts=parts, bounds=bounds)

    def mix(self, infos: Sequence[Info], unknown: str = "", weak: bool = False) -> Info:
        """Report an operation that mixes its operands, or uses them in another way.

        Parameters
        ----------
        infos : sequence of Info
        unknown : str
            Why nothing can be said of a layer whose output is used so.
        weak : bool
            Whether it does not count beside other uses: the network returns the tensor.

        Returns
        -------
        Info
            Of the result.
        """
        for info in infos:
            for part, rows in _contents(info):
                if not part.closed and part.values.dtype.kind != "b":
                    part.node.uses.append(_Use(part, rows, weak, unknown))
        return UNKNOWN

    def _feeds(self, x: Info) -> list[_Feed] | None:
        """Record that a linear map takes a tensor; return where its entries come from."""
        self.mix([x])
        if not x.parts or (x.codes is not None and (_core(x.codes) < 0).any()):
            return None
        return [_Feed(part, rows) for part, rows in _contents(x)]

    # -- what comes of it ---------------------------------------------------------------------

    def network(self) -> tuple[Network | None, tuple[Skipped, ...]]:
        """Return the layers that the run had.

        The same weights used again in the same way are one layer, fed as at its first use; used in
        another way they are another, ``name#2``.

        Returns
        -------
        network : Network or None
            None if there is no layer.
        skipped : tuple of Skipped
        """
        skipped: dict[str, str] = {}
        layers: dict[str, Layer] = {}
        sources: dict[str, tuple[str, ...]] = {}
        in_ranges: dict[str, tuple[float, float]] = {}
        straight: set[str] = set()
        made: dict[int, list[_Made]] = {}
        seen: dict[Any, list[tuple[_Runs, list[_Made]]]] = {}
        names: set[str] = set()
        for node in self._nodes:
            runs = _outcomes(node)
            before = seen.setdefault(node.key, [])
            same = next((found for other, found in before if _same_runs(other, runs)), None)
            if same is not None:
                made[id(node)] = same
                continue
            name, count = node.name, 1
            while name in names:
                count += 1
                name = f"{node.name}#{count}"
            names.add(name)
            feeding = _sources(node.feeds, made)
            found: list[_Made] = []
            for rows, outcome in runs:
                title = name if len(runs) == 1 else f"{name}[{rows.start}:{rows.stop}]"
                if outcome.unknown:
                    skipped.setdefault(title, outcome.unknown)
                    continue
                if outcome.unpooled:
                    skipped.setdefault(f"{title} (pooling)", outcome.unpooled)
                layers[title] = _layer(node, rows, outcome, title)
                found.append(_Made(rows, outcome, title))
                sources[title] = feeding
                if node.bounds is not None:
                    in_ranges[title] = node.bounds
                if node.straight and len(feeding) == 1:
                    straight.add(title)
            before.append((runs, found))
            made[id(node)] = found
        for title, reason in self.noted.items():
            skipped.setdefault(title, reason)
        left = tuple(Skipped(*item) for item in skipped.items())
        if not layers:
            return None, left
        # A layer that was cut in parts feeds nothing straight.
        straight = {s for s in straight if layers[s].n_in == layers[sources[s][0]].n_out}
        return Network(layers.values(), True, sources, in_ranges, straight), left


@dataclass(frozen=True)
class _Outcome:
    """What follows some rows of a node."""

    first: _Function
    pooled: _Pooled | None = None
    after: str = "identity"
    unknown: str = ""
    unpooled: str = ""


_Runs = list[tuple[slice, _Outcome]]


@dataclass(frozen=True)
class _Made:
    """A layer made of some rows of a node."""

    rows: slice
    outcome: _Outcome
    name: str


def _like(result: Any, make: Callable[[Any], Info]) -> Any:
    return [make(c) for c in result] if isinstance(result, list | tuple) else make(result)


def _renumbered(codes: Codes, places: list[int]) -> Codes:
    """Return the codes with other numbers for the parts."""
    if places == list(range(len(places))):
        return codes
    part = np.where(codes < 0, 0, codes // _STRIDE)
    return np.where(codes < 0, -1, np.array(places)[part] * _STRIDE + codes % _STRIDE)


def _contents(info: Info) -> list[tuple[Part, NDArray[np.intp]]]:
    """Return the parts that a tensor still holds entries of, with their rows."""
    if info.codes is None:
        return [(p, np.arange(p.node.n_out)) for p in info.parts]
    codes = np.unique(_core(info.codes))
    found = []
    for k, part in enumerate(info.parts):
        rows = codes[(codes >= k * _STRIDE) & (codes < (k + 1) * _STRIDE)] - k * _STRIDE
        if len(rows):
            found.append((part, rows.astype(np.intp)))
    return found


def _aligned(a: Info, b: Info) -> bool:
    """Return whether two tensors hold the same outputs in the same places."""
    if a is b:
        return True
    if len(a.parts) != len(b.parts) or a.codes is None or b.codes is None:
        return False
    for p, q in zip(a.parts, b.parts, strict=True):
        if p.node is not q.node or p.fold is not q.fold or p.pooled is not q.pooled:
            return False
        if p.closed or q.closed:
            return False
    if a.codes is b.codes:
        return True
    return a.codes.shape == b.codes.shape and bool(np.array_equal(a.codes, b.codes))


def _is_straight(x: Info, axis: int) -> bool:
    """Return whether a tensor's features are one part's outputs, in order."""
    if len(x.parts) != 1 or x.codes is None or x.codes.ndim < -axis:
        return False
    n = x.codes.shape[axis]
    if n != x.parts[0].node.n_out:
        return False
    rows = np.moveaxis(x.codes, axis, -1)
    rows = rows[tuple(0 if s == 0 else slice(None) for s in rows.strides[:-1])]
    return bool((rows == np.arange(n)).all())


def _applied(name: str, operands: Sequence[Part], values: NDArray[Any]) -> Part:
    """Return the part that an elementwise operation makes of its operands."""
    first = operands[0]
    if first.closed:
        return replace(first, values=values)
    alone = all(p.values is first.values or p is first for p in operands)
    prefix = first.prefix if all(p.prefix == first.prefix for p in operands) else None
    line = affine(values)
    known = recognise(values)
    if known not in (None, "identity"):
        settled = known
    elif line is not None:
        settled, prefix = None, (None if known == "identity" else line)
    else:
        settled = first.settled if alone else None
    return replace(first, values=values, settled=settled, prefix=prefix, last=name)


def _outcome_of(part: Part) -> _Outcome:
    function = _function(part)
    pooled = part.pooled
    if pooled is None:
        return _Outcome(function, unknown=function.unknown)
    unknown = pooled.before.unknown or function.unknown
    return _Outcome(pooled.before, pooled, function.activation or "", unknown)


def _same_fold(a: _Fold | None, b: _Fold | None) -> bool:
    if a is b or a is None or b is None:
        return a is b
    return np.array_equal(a.scale, b.scale) and np.array_equal(a.shift, b.shift)


def _same_function(a: _Function, b: _Function) -> bool:
    return (
        a.activation == b.activation
        and _same_fold(a.fold, b.fold)
        and (a.scale, a.shift) == (b.scale, b.shift)
        and not a.unknown
        and not b.unknown
    )


def _same_outcome(a: _Outcome, b: _Outcome) -> bool:
    pools = (a.pooled is None) == (b.pooled is None)
    if pools and a.pooled is not None and b.pooled is not None:
        pools = (a.pooled.kind, a.pooled.window, a.pooled.step) == (
            b.pooled.kind, b.pooled.window, b.pooled.step,
        )  # fmt: skip
    return (
        pools
        and a.after == b.after
        and a.unknown == b.unknown
        and (bool(a.unknown) or _same_function(a.first, b.first))
    )


def _same_runs(a: _Runs, b: _Runs) -> bool:
    return len(a) == len(b) and all(
        ra == rb and _same_outcome(oa, ob) for (ra, oa), (rb, ob) in zip(a, b, strict=True)
    )


def _joined(outcomes: list[_Outcome]) -> _Outcome:
    """Return what can be said of an output that is used in several ways."""
    first = outcomes[0]
    for other in outcomes:
        if other.unknown:
            return other
    if all(_same_outcome(first, other) for other in outcomes):
        return first
    if all(_same_function(first.first, other.first) for other in outcomes):
        return _Outcome(first.first)  # pooled in one way here and in another there
    return _Outcome(_Function("identity"))  # the rest of the network sees the map itself


def _outcomes(node: _Node) -> _Runs:
    """Return the ranges of a node's rows, each with what follows it."""
    everything = slice(0, node.n_out)
    if node.fixed is not None:
        return [(everything, _Outcome(_Function(node.fixed)))]
    uses = [u for u in node.uses if not u.weak] or node.uses
    if not uses:
        return [(everything, _Outcome(_Function("identity")))]
    found = [
        _Outcome(_Function(None), unknown=u.unknown) if u.unknown else _outcome_of(u.part)
        for u in uses
    ]
    users = np.zeros((node.n_out, len(uses)), dtype=bool)
    for k, use in enumerate(uses):
        users[use.rows, k] = True
    runs: _Runs = []
    changes = np.flatnonzero((users[1:] != users[:-1]).any(axis=1)) + 1
    for start, stop in zip([0, *changes], [*changes, node.n_out], strict=True):
        mine = [found[k] for k in np.flatnonzero(users[start])]
        if not mine:  # outputs that nothing uses go with their neighbours
            mine = [runs[-1][1]] if runs else found[:1]
        outcome = _limited(node, _joined(mine))
        if runs and _same_outcome(runs[-1][1], outcome):
            runs[-1] = (slice(runs[-1][0].start, int(stop)), outcome)
        else:
            runs.append((slice(int(start), int(stop)), outcome))
    split = node.conv is not None and node.conv.groups > 1
    if len(runs) > 1 and (split or len(runs) > 8):
        return [(everything, _joined([outcome for _, outcome in runs]))]
    return runs


def _limited(node: _Node, outcome: _Outcome) -> _Outcome:
    """Leave out a pooling whose receptive field is too large to write down."""
    pooled = outcome.pooled
    if pooled is None or node.conv is None:
        return outcome
    pool = Pool(pooled.kind, pooled.window, pooled.step, node.conv.dilation)
    n_out, n_in, *kernel = map(int, node.weight.shape)
    entries = n_out * n_in * math.prod(pool.field(tuple(kernel)))
    if pooled.kind == "max" or pooled.before.activation != "identity":
        entries *= pool.positions
    if entries <= MOST_POOLED_ENTRIES:
        return outcome
    window = "x".join(map(str, pooled.window))
    reason = (
        f"{pooled.kind} pooling over {window} positions spans too many inputs; the convolution is "
        "measured without it"
    )
    return _Outcome(outcome.first, unknown=outcome.unknown, unpooled=reason)


def _sources(feeds: list[_Feed] | None, made: dict[int, list[_Made]]) -> tuple[str, ...]:
    """Return the names of the layers whose outputs, as they are, make an input."""
    names: list[str] = []
    for feed in feeds or ():
        taken = _outcome_of(feed.part)
        if taken.unknown or not _function(feed.part).exact:
            return ()
        used = np.zeros(feed.part.node.n_out, dtype=bool)
        used[feed.rows] = True
        for layer in made.get(id(feed.part.node), []):
            if not used[layer.rows].any():
                continue
            used[layer.rows] = False
            # Pooling keeps the range: with it or without, the outputs are the layer's own.
            if taken.after != layer.outcome.after or not _same_function(
                taken.first, layer.outcome.first
            ):
                return ()
            if layer.name not in names:
                names.append(layer.name)
        if used.any():
            return ()
    return tuple(names)


def _layer(node: _Node, rows: slice, outcome: _Outcome, name: str) -> Layer:
    weight = plain(node.weight)[rows]
    bias: Any = None if node.bias is None else plain(node.bias)[rows]
    first = outcome.first
    conv = node.conv
    groups = conv.groups if conv is not None else 1
    pool = None
    if first.fold is not None:
        scale, shift = first.fold.scale[rows], first.fold.shift[rows]
        if (scale != 1.0).any():
            weight = weight.astype(np.float64) * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = shift + (0.0 if bias is None else scale * bias)
    if (first.scale, first.shift) != (1.0, 0.0):
        weight = weight.astype(np.float64) * first.scale
        if bias is not None or first.shift:
            bias = first.shift + (0.0 if bias is None else first.scale * bias)
        bias = None if bias is None else np.broadcast_to(bias, (len(weight),))
    activation = get_activation(first.activation)
    if outcome.pooled is not None and conv is not None:
        window, step = outcome.pooled.window, outcome.pooled.step
        pool = Pool(outcome.pooled.kind, window, step, conv.dilation, get_activation(outcome.after))
        rising = pool.activation.rises_on(-1e3, 1e3)
        if activation.name == "identity" and pool.kind == "mean":
            # The mean of linear maps is one linear map of the whole receptive field.
            weight = pool.spread(weight).mean(axis=1)
            activation, pool = pool.activation, None
        elif activation.name == "identity" and rising:
            # A function that never falls may as well come before the maximum.
            activation = pool.activation
            pool = Pool(pool.kind, window, step, conv.dilation)
    return Layer(weight, bias, activation, name, groups, pool)
