"""A layer made discrete: what every engine works on.

Inputs are independent and uniform on one range, binned at fixed width; the output's bins are
intervals of the pre-activation ``z = W x + b``. Nothing here decides anything about estimation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activation import Activation
from .layer import Layer, check_reach
from .limits import resolved
from .preimage import preimages
from .reach import reach, with_tables
from .small import enlarged
from .stage import Stage
from .sums import RowSums

__all__ = [
    "MAX_THRESHOLDS",
    "Binning",
    "Channel",
    "Rule",
    "discretize",
]

Array = NDArray[np.float64]

#: Weights of which a copy in float64 is not made where rows of it do.
_LARGE = 1 << 12

#: Thresholds of one output, at most; see csrc/ei_channel.h.
MAX_THRESHOLDS = 4096


@dataclass(frozen=True)
class Binning:
    """How values are binned: what the user chose.

    Parameters
    ----------
    in_bins, out_bins : int
        Numbers of bins.
    drop : bool
        Whether values outside the range are left out, instead of put in the end bins.
    baseline : float
        Where the inputs that are not perturbed are held.
    """

    in_bins: int = 8
    out_bins: int = 8
    drop: bool = False
    baseline: float = 0.0


@dataclass(frozen=True, eq=False)
class Rule:
    """How an output is binned, by its pre-activation.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (m,)
        Strictly increasing where finite; ``z`` lies in interval j when j thresholds are ``<= z``.
    labels : ndarray of int32, shape (m + 1,)
        The output bin of every interval; -1 where the sample is dropped.
    limits : ndarray of float64, shape (k,)
        Thresholds between the ``z`` inside and outside the output's range, like ``thresholds``.
    outside : ndarray of uint16, shape (k + 1,)
        Whether each of those intervals lies outside.
    """

    thresholds: Array
    labels: NDArray[np.int32]
    limits: Array = field(default_factory=lambda: np.empty(0))
    outside: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(1, np.uint16))

    @cached_property
    def drops(self) -> bool:
        """Whether any interval is dropped."""
        return bool(min(self.labels.tolist()) < 0)

    def bins_of(self, z: Array) -> NDArray[np.int32]:
        """Return the output bins of pre-activations; -1 where dropped."""
        return self.labels[np.searchsorted(self.thresholds, z, side="right")]

    def outside_of(self, z: Array) -> NDArray[np.bool_]:
        """Say which pre-activations lead out of the output's range."""
        return np.asarray(self.outside[np.searchsorted(self.limits, z, side="right")] != 0)

    def filled(self, thresholds: int, limits: int) -> Rule:
        """Return the same with as many thresholds and limits, the added ones infinite."""
        more, beyond = thresholds - len(self.thresholds), limits - len(self.limits)
        return Rule(
            np.append(self.thresholds, np.full(more, np.inf)),
            np.append(self.labels, np.full(more, self.labels[-1])),
            np.append(self.limits, np.full(beyond, np.inf)),
            np.append(self.outside, np.full(beyond, self.outside[-1])),
        )

    def of_limits(self) -> Rule:
        """Return the rule that only tells inside, bin 0, from outside, bin 1."""
        return Rule(self.limits, self.outside.astype(np.int32))


@dataclass(frozen=True, eq=False)
class Channel:
    """The discrete channel of a layer under ``do(L1 = Hmax)``.

    Parameters
    ----------
    name : str
        The layer's name.
    weight : ndarray of float64, shape (n_out, n_in)
        C-contiguous. For a grouped convolution a row's inputs are those of its own group. Of a
        large layer it may be the layer's own numbers, in half the memory or less: see
        :meth:`widened`.
    bias : ndarray of float64, shape (n_out,)
    in_lo, in_hi : float
        Every input is uniform on this range.
    in_bins, out_bins : int
    rules : tuple of Rule
        The different ways in which outputs are binned; mostly one. Several have equally many
        thresholds, and limits: :meth:`Rule.filled`.
    rule : ndarray of int32, shape (n_out,), or None
        Which of them every output has. None: all have the first.
    baseline : float
        Where the inputs that are not perturbed are held, for the sensitivity.
    groups : int
        Independent blocks of inputs; see :class:`eiplane.Layer`.
    stages : tuple of Stage
        What comes before the last affine map; ``weight`` then has as many columns as the last
        stage has outputs.
    sums : RowSums or None
        Of the weight's rows, where they are known.
    """

    name: str
    weight: NDArray[Any]
    bias: Array
    in_lo: float
    in_hi: float
    in_bins: int
    out_bins: int
    rules: tuple[Rule, ...]
    rule: NDArray[np.int32] | None = None
    baseline: float = 0.0
    groups: int = 1
    stages: tuple[Stage, ...] = ()
    sums: RowSums | None = None

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(self.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Number of perturbed inputs that one output sees."""
        return self.stages[0].n_in if self.stages else int(self.weight.shape[1])

    @property
    def drops(self) -> bool:
        """Whether any interval of any output is dropped."""
        return any(rule.drops for rule in self.rules)

    def widened(self) -> Channel:
        """Return the channel with weights in float64: itself, or a copy."""
        if self.weight.dtype == np.float64 and self.weight.flags.c_contiguous:
            return self
        weight, sums = np.require(self.weight, np.float64, ("C", "A")), self.own_sums()
        return replace(self, weight=weight, sums=sums and sums.moved(weight))

    def own_sums(self) -> RowSums | None:
        """Return the sums of the rows, if they are known and this very weight's."""
        return None if self.sums is None else self.sums.of(self.weight)

    def tables(self) -> tuple[Array, NDArray[np.int32], Array, NDArray[np.uint16]]:
        """Return thresholds, labels, limits and flags of all rules, one rule after the other."""
        if len(self.rules) == 1:
            only = self.rules[0]
            return only.thresholds, only.labels, only.limits, only.outside
        return (
            np.concatenate([rule.thresholds for rule in self.rules]),
            np.concatenate([rule.labels for rule in self.rules]),
            np.concatenate([rule.limits for rule in self.rules]),
            np.concatenate([rule.outside for rule in self.rules]),
        )

    def rule_of(self, output: int) -> Rule:
        """Return how an output is binned."""
        return self.rules[0 if self.rule is None else int(self.rule[output])]

    def bins_of(self, z: Array) -> NDArray[np.int32]:
        """Return the output bins of pre-activations, both (n_out, samples); -1 where dropped."""
        if len(self.rules) == 1:
            return self.rules[0].bins_of(z)
        return np.array([self.rule_of(b).bins_of(row) for b, row in enumerate(z)])

    def outside_of(self, z: Array) -> NDArray[np.bool_]:
        """Say which pre-activations, (n_out, samples), lead out of their output's range."""
        if len(self.rules) == 1:
            return self.rules[0].outside_of(z)
        return np.array([self.rule_of(b).outside_of(row) for b, row in enumerate(z)])

    def rows(self, start: int, stop: int) -> Channel:
        """Return the channel of some of the outputs."""
        return self.outputs(slice(start, stop))

    def outputs(self, outputs: slice | NDArray[np.intp]) -> Channel:
        """Return the channel of some of the outputs, with the rules that they have."""
        weight, bias, sums = self.weight[outputs], self.bias[outputs], self.own_sums()
        sums = sums and replace(sums, matrix=weight, values=sums.values[outputs])
        if self.rule is None:
            return replace(self, weight=weight, bias=bias, sums=sums)
        used, rule = np.unique(self.rule[outputs], return_inverse=True)
        return replace(
            self,
            weight=weight,
            bias=bias,
            sums=sums,
            rules=tuple(self.rules[i] for i in used),
            rule=rule.astype(np.int32) if len(used) > 1 else None,
        )

    def columns(self, start: int, stop: int) -> Channel:
        """Return the channel of some of the inputs, as if the others were zero; no stages."""
        weight = np.ascontiguousarray(self.weight[:, start:stop])
        return replace(self, weight=weight, sums=None)


def discretize(
    layer: Layer,
    binning: Binning,
    in_range: tuple[float, float],
    out_range: tuple[float, float],
    before: tuple[Stage, ...] = (),
    narrow: bool = False,
    sums: RowSums | None = None,
) -> Channel:
    """Return the channel of a layer.

    Parameters
    ----------
    layer : Layer
    binning : Binning
    in_range, out_range : tuple of float
        Checked by the caller: finite, low below high. ``in_range`` is that of the first stage.
    before : tuple of Stage
        Of a span: the layers before this one.
    narrow : bool
        Whether the weights of a large layer may stay in their own, narrower type.
    sums : RowSums, optional
        Of the rows of the layer's weight.

    Returns
    -------
    Channel

    Raises
    ------
    ValueError
        If pre-activations on this range leave float64, or it does not tell the bins of a range
        apart; it names the layer. If an activation is not
        defined where the layer can reach, turns too often there, or crosses the edges of the bins
        too often.
    """
    name = layer.name or "layer"
    ranges = {"in_range": (in_range, binning.in_bins), "out_range": (out_range, binning.out_bins)}
    for what, (pair, bins) in ranges.items():
        if not resolved(pair, bins):
            raise ValueError(
                f"layer {name!r}: its {what} ({pair[0]}, {pair[1]}) is too narrow for {bins} bins "
                "in float64; give a wider one, or one nearer to 0"
            )
    # Where the inputs can be: one at a time is perturbed, and the others held, as well.
    low = min(in_range[0], binning.baseline)
    high = max(in_range[1], binning.baseline)
    check_reach(layer, (low, high), sums)
    try:
        if narrow and not before and _may_stay(layer):
            weight, bias, activation = layer.rows(), layer.offsets(), layer.activation
            stages: tuple[Stage, ...] = ()
        else:
            weight, bias, activation, stages = _steps(layer, before, low, high)
        stages = with_tables(stages, low, high)
        rules = _rules(activation, stages, weight, bias, (low, high), out_range, binning)
    except (TypeError, ValueError) as error:
        raise type(error)(f"layer {name!r}: {error}") from None
    channel = Channel(
        name,
        weight,
        bias,
        float(in_range[0]),
        float(in_range[1]),
        binning.in_bins,
        binning.out_bins,
        rules,
        activation.rule,
        float(binning.baseline),
        layer.groups,
        stages,
        None if sums is None or layer.pool is not None else sums.moved(weight),
    )
    return enlarged(channel)


def _may_stay(layer: Layer) -> bool:
    """Whether nothing but the rows of a layer will be looked at, and a copy would take much."""
    weight, narrower = layer.weight, layer.weight.dtype.itemsize < 8
    closed = all(function.pieces for function in layer.activation.distinct)
    return layer.pool is None and closed and narrower and weight.size >= _LARGE


def _rules(
    activation: Activation,
    stages: tuple[Stage, ...],
    weight: Array,
    bias: Array,
    in_range: tuple[float, float],
    out_range: tuple[float, float],
    binning: Binning,
) -> tuple[Rule, ...]:
    edges = _cuts(*out_range, binning.out_bins)
    closed = all(function.pieces for function in activation.distinct)
    ends = None if closed else np.stack(reach(stages, weight, bias, *in_range))
    rules = []
    for i, function in enumerate(activation.distinct):
        if ends is None:
            pieces = function.pieces
        else:
            mine = slice(None) if activation.rule is None else activation.rule == i
            pieces = function.pieces_on(float(ends[0, mine].min()), float(ends[1, mine].max()))
        thresholds, labels, limits, inside = preimages(pieces, edges, binning.drop)
        if len(thresholds) > MAX_THRESHOLDS:
            raise ValueError(
                f"{function.title} crosses the edges of the {binning.out_bins} bins "
                f"{len(thresholds)} times within the layer's reach; at most {MAX_THRESHOLDS} are "
                "supported: use fewer bins or a narrower in_range"
            )
        rules.append(Rule(thresholds, labels, limits, (inside < 0).astype(np.uint16)))
    if len(rules) == 1:
        return tuple(rules)
    sizes = [max(len(getattr(rule, cuts)) for rule in rules) for cuts in ("thresholds", "limits")]
    return tuple(rule.filled(*sizes) for rule in rules)


def _cuts(low: float, high: float, bins: int) -> Array:
    """Return ``np.linspace(low, high, bins + 1)``, the same numbers, in less time."""
    low, high = float(low), float(high)
    edges = np.arange(bins + 1.0)
    edges *= (high - low) / bins
    edges += low
    edges[-1] = high
    return edges


def _steps(
    layer: Layer, before: tuple[Stage, ...], low: float, high: float
) -> tuple[Array, Array, Activation, tuple[Stage, ...]]:
    """Return a layer's last affine map and activation, and the stages of a pooling before it."""
    pool = layer.pool
    if pool is None:
        return layer.matrix(), layer.offsets(), layer.activation, before
    wide, n_out = layer.unpooled(), layer.n_out
    matrix, offsets, width = wide.matrix(), wide.offsets(), pool.positions
    n_in, n_wide = matrix.shape[1], matrix.shape[0]
    first, last = wide.activation, pool.activation
    if pool.kind == "max" and last.kind == "identity":
        least, greatest = reach(before, matrix, offsets, low, high)
        if first.rises_on(float(least.min()), float(greatest.max())):
            # The maximum of a rising function is its value at the maximum: into the thresholds.
            first, last = last, layer.activation
    stage = Stage(n_in, n_wide, matrix, offsets, first)
    if pool.kind == "max":
        stages = (*before, stage, Stage(n_wide, n_out, width=width))
        weight = np.eye(n_out)
    else:
        stages = (*before, stage)
        weight = np.repeat(np.eye(n_out), width, axis=1) / width
    return weight, np.zeros(n_out), last, stages
