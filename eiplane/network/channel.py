"""A layer made discrete: what every engine works on.

Inputs are independent and uniform on one range, binned at fixed width; the output's bins are
intervals of the pre-activation ``z = W x + b``. Nothing here decides anything about estimation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .activation import Activation, get_activation, preimage
from .layer import Layer

__all__ = [
    "LEAST",
    "MAX_BINS",
    "MOST",
    "Binning",
    "Channel",
    "Stage",
    "automatic_range",
    "discretize",
    "joined_image",
    "resolved",
]

Array = NDArray[np.float64]

#: The largest number of bins; the paper goes to 256.
MAX_BINS = 1024

#: The greatest size of an end of a range, and its least width: beyond, squares leave float64.
MOST, LEAST = 1e150, 1e-150

#: The least width of a bin in units in the last place, so that numbers tell bins apart.
_UNITS = 1024.0

_BLOCK = 1 << 20  # weights


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
class Stage:
    """A step before a channel's last affine map: an affine map and its activation, or a maximum.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of values in and out.
    weight : ndarray of float64, shape (n_out, n_in), or None
        C-contiguous; None for a maximum.
    bias : ndarray of float64, shape (n_out,), or None
    activation : Activation or None
    width : int
        0 for an affine map; otherwise each output is the maximum of so many neighbouring inputs.
    """

    n_in: int
    n_out: int
    weight: Array | None = None
    bias: Array | None = None
    activation: Activation | None = None
    width: int = 0


@dataclass(frozen=True, eq=False)
class Channel:
    """The discrete channel of a layer under ``do(L1 = Hmax)``.

    Parameters
    ----------
    name : str
        The layer's name.
    weight : ndarray of float64, shape (n_out, n_in)
        C-contiguous. For a grouped convolution a row's inputs are those of its own group.
    bias : ndarray of float64, shape (n_out,)
    in_lo, in_hi : float
        Every input is uniform on this range.
    in_bins, out_bins : int
    thresholds : ndarray of float64, shape (m,)
        Strictly increasing; ``z`` lies in interval j when j thresholds are ``<= z``.
    labels : ndarray of int32, shape (m + 1,)
        The output bin of every interval; -1 where the sample is dropped.
    baseline : float
        Where the inputs that are not perturbed are held, for the sensitivity.
    groups : int
        Independent blocks of inputs; see :class:`eiplane.Layer`.
    limits : ndarray of float64, shape (k,)
        Thresholds between the ``z`` inside and outside the output's range, like ``thresholds``.
    outside : ndarray of uint16, shape (k + 1,)
        Whether each of those intervals lies outside.
    stages : tuple of Stage
        What comes before the last affine map; ``weight`` then has as many columns as the last
        stage has outputs.
    """

    name: str
    weight: Array
    bias: Array
    in_lo: float
    in_hi: float
    in_bins: int
    out_bins: int
    thresholds: Array
    labels: NDArray[np.int32]
    baseline: float = 0.0
    groups: int = 1
    limits: Array = field(default_factory=lambda: np.empty(0))
    outside: NDArray[np.uint16] = field(default_factory=lambda: np.zeros(1, np.uint16))
    stages: tuple[Stage, ...] = ()

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
        """Whether any interval is dropped."""
        return bool((self.labels < 0).any())

    def rows(self, start: int, stop: int) -> Channel:
        """Return the channel of some of the outputs."""
        return replace(self, weight=self.weight[start:stop], bias=self.bias[start:stop])

    def columns(self, start: int, stop: int) -> Channel:
        """Return the channel of some of the inputs, as if the others were zero; no stages."""
        return replace(self, weight=np.ascontiguousarray(self.weight[:, start:stop]))


def resolved(pair: tuple[float, float], bins: int) -> bool:
    """Return whether float64 tells apart the bins of a range, and enough numbers in each.

    Parameters
    ----------
    pair : tuple of float
        Finite, low below high.
    bins : int

    Returns
    -------
    bool
    """
    lo, hi = pair
    unit = float(np.spacing(max(abs(lo), abs(hi))))
    return hi - lo >= max(LEAST, bins * _UNITS * unit)


def automatic_range(layer: Layer, in_range: tuple[float, float]) -> tuple[float, float]:
    """Return the output range that ``out_range="auto"`` means.

    Parameters
    ----------
    layer : Layer
    in_range : tuple of float
        The range of every input.

    Returns
    -------
    tuple of float
        The activation's own range, where it has a bounded one. Otherwise the image under f of mean
        +- 4 standard deviations of the pre-activation under ``do(L1 = Hmax)``, joined over the
        neurons and clipped to what the layer can reach. A layer that is constant gets a range of
        width 1 (of large values: in proportion) about its value. Pooling keeps the range of what it pools.
    """
    if layer.pool is not None and layer.pool.activation.name != "identity":
        after = layer.pool.activation
        if after.natural_range is not None:
            return after.natural_range
        pool = replace(layer.pool, activation=get_activation("identity"))
        low, high = automatic_range(replace(layer, pool=pool), in_range)
        return joined_image(after, np.array([low]), np.array([high]))
    natural = layer.activation.natural_range
    if natural is not None:
        return natural
    lo, hi = in_range
    weight = layer.weight.reshape(layer.n_out, -1)
    sums, sizes, squares = np.empty((3, layer.n_out))
    step = max(1, _BLOCK // weight.shape[1])
    for start in range(0, layer.n_out, step):  # a block at a time: the layer may be large
        rows = slice(start, start + step)
        block = weight[rows].astype(np.float64)
        sums[rows] = block.sum(axis=1)
        sizes[rows] = np.abs(block).sum(axis=1)
        squares[rows] = (block * block).sum(axis=1)
    mean = layer.offsets() + 0.5 * (lo + hi) * sums
    reach = 0.5 * (hi - lo) * sizes
    deviation = (hi - lo) * np.sqrt(squares / 12.0)
    half = np.minimum(4.0 * deviation, reach)
    return joined_image(layer.activation, mean - half, mean + half)


def joined_image(activation: Activation, low: Array, high: Array) -> tuple[float, float]:
    """Return the smallest range that holds the activation's image of every interval.

    Parameters
    ----------
    activation : Activation
    low, high : ndarray of float64, shape (n,)
        Ends of the intervals of pre-activations.

    Returns
    -------
    tuple of float
    """
    turns = np.array([piece.start for piece in activation.pieces[1:]])
    inside = [t for t in turns if ((low < t) & (t < high)).any()]
    values = activation(np.concatenate([low, high, np.array(inside)]))
    start, stop = float(values.min()), float(values.max())
    size = max(abs(start), abs(stop))
    if stop - start <= 1e-12 * size:
        half = max(0.5, 1e-6 * size)  # a constant: more than the distance of its neighbours
        return start - half, stop + half
    return start, stop


def discretize(
    layer: Layer,
    binning: Binning,
    in_range: tuple[float, float],
    out_range: tuple[float, float],
) -> Channel:
    """Return the channel of a layer.

    Parameters
    ----------
    layer : Layer
    binning : Binning
    in_range, out_range : tuple of float
        Checked by the caller: finite, low below high.

    Returns
    -------
    Channel

    Raises
    ------
    ValueError
        For a range whose bins float64 does not tell apart; it names the layer.
    """
    for what, pair, bins in (
        ("in_range", in_range, binning.in_bins),
        ("out_range", out_range, binning.out_bins),
    ):
        if not resolved(pair, bins):
            raise ValueError(
                f"layer {layer.name!r}: its {what} {pair} is too narrow for {bins} bins in "
                "float64; give a wider one"
            )
    weight, bias, activation, stages = _steps(layer)
    edges = np.linspace(out_range[0], out_range[1], binning.out_bins + 1)
    thresholds, labels = preimage(activation, edges, binning.drop)
    limits, inside = preimage(activation, edges[[0, -1]], True)
    return Channel(
        layer.name or "layer",
        weight,
        bias,
        float(in_range[0]),
        float(in_range[1]),
        binning.in_bins,
        binning.out_bins,
        thresholds,
        labels,
        float(binning.baseline),
        layer.groups,
        limits,
        (inside < 0).astype(np.uint16),
        stages,
    )


def _steps(layer: Layer) -> tuple[Array, Array, Activation, tuple[Stage, ...]]:
    """Return a layer's last affine map and activation, and the stages of a pooling before it."""
    pool = layer.pool
    if pool is None:
        return layer.matrix(), layer.offsets(), layer.activation, ()
    wide, n_out = layer.unpooled(), layer.n_out
    matrix, width = wide.matrix(), pool.positions
    n_in, n_wide = matrix.shape[1], matrix.shape[0]
    first, last = layer.activation, pool.activation
    rising = all(piece.at_start <= piece.at_stop for piece in first.pieces)
    if pool.kind == "max" and rising and last.name == "identity":
        # The maximum of a rising function is its value at the maximum: into the thresholds with it.
        first, last = last, first
    stage = Stage(n_in, n_wide, matrix, wide.offsets(), first)
    if pool.kind == "max":
        stages: tuple[Stage, ...] = (stage, Stage(n_wide, n_out, width=width))
        weight = np.eye(n_out)
    else:
        stages = (stage,)
        weight = np.repeat(np.eye(n_out), width, axis=1) / width
    return weight, np.zeros(n_out), last, stages
