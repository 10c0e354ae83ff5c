"""A layer and a network: weights, bias, activation and shape, checked once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Activation
from .known import get_activation

__all__ = ["Layer", "LazyLayer", "Network", "Pool", "real_array"]

Array = NDArray[np.float64]


def real_array(value: Any, what: str) -> NDArray[Any]:
    """Return ``value`` as a NumPy array of finite real numbers.

    Parameters
    ----------
    value : array_like
        Anything that NumPy makes an array of. A tensor comes as it is: detached and on the CPU.
    what : str
        What it is, for the error ("layer 'fc1': weight").

    Returns
    -------
    ndarray
        Of a floating, integer or boolean dtype, possibly a view of the input.

    Raises
    ------
    TypeError
        If it is not numeric: complex, object, string.
    ValueError
        If an entry is NaN or infinite (it names the first).
    """
    detach = getattr(value, "detach", None)
    if callable(detach):  # a torch tensor, without importing torch
        value = detach().cpu()
        value = (value.float() if "bfloat16" in str(value.dtype) else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{what} must be an array of real numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{what} must be an array of real numbers, not of dtype {array.dtype}; "
            "convert it first, e.g. with .astype(float)"
        )
    # A NaN is its own least and greatest: no large array of flags where all is well.
    checked = array.dtype.kind == "f" and array.size > 0
    if checked and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        bad = ~np.isfinite(array)
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{what} has {int(bad.sum())} entries that are NaN or infinite, the first "
            f"{array[where]} at {list(where)}; replace them before measuring"
        )
    return array


@dataclass(frozen=True)
class Pool:
    """A pooling of a convolution's outputs, one window of it.

    Parameters
    ----------
    kind : str
        ``"max"`` or ``"mean"``.
    window : tuple of int
        Positions of the convolution that one pooled output covers, along every axis of the kernel.
    step : tuple of int, optional
        How far neighbouring positions of the window lie apart in the convolution's input: its
        stride, times the pooling's own dilation. 1 when left out.
    dilation : tuple of int, optional
        How far neighbouring taps of the kernel lie apart there. 1 when left out.
    activation : str or Activation
        What follows the pooling; the layer's own activation comes before it.

    Raises
    ------
    ValueError
        For an unknown kind or sizes that are not positive or do not match.
    """

    kind: str
    window: tuple[int, ...]
    step: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    activation: Activation = field(default="identity")  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.kind not in ("max", "mean"):
            raise ValueError(f"a pooling is 'max' or 'mean', not {self.kind!r}")
        ones = (1,) * len(self.window)
        step, dilation = self.step or ones, self.dilation or ones
        sizes = (*self.window, *step, *dilation)
        if len(sizes) != 3 * len(ones) or not ones or any(n < 1 for n in sizes):
            raise ValueError(
                "a pooling needs a window, a step and a dilation of the same number of positive "
                f"sizes, not {self.window}, {step} and {dilation}"
            )
        # Pixels that no tap can fall on are left out of the receptive field.
        unit = [math.gcd(s, d) for s, d in zip(step, dilation, strict=True)]
        object.__setattr__(self, "step", tuple(s // u for s, u in zip(step, unit, strict=True)))
        object.__setattr__(
            self, "dilation", tuple(d // u for d, u in zip(dilation, unit, strict=True))
        )
        object.__setattr__(self, "activation", get_activation(self.activation))

    @property
    def positions(self) -> int:
        """Number of positions in the window."""
        return math.prod(self.window)

    def field(self, kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of the receptive field of one pooled output.

        Parameters
        ----------
        kernel : tuple of int
            The convolution's kernel.

        Returns
        -------
        tuple of int
        """
        sizes = zip(self.window, self.step, kernel, self.dilation, strict=True)
        return tuple((w - 1) * s + (k - 1) * d + 1 for w, s, k, d in sizes)

    def spread(self, weight: NDArray[Any]) -> Array:
        """Return the convolution at every position of the window, over the whole receptive field.

        Parameters
        ----------
        weight : ndarray, shape (n_out, n_in / groups, *kernel)

        Returns
        -------
        ndarray of float64, shape (n_out, positions, n_in / groups, *field)
        """
        n_out, n_in, *kernel = weight.shape
        out = np.zeros((n_out, self.positions, n_in, *self.field(tuple(kernel))))
        for p, place in enumerate(itertools.product(*map(range, self.window))):
            taps: tuple[Any, ...] = tuple(
                slice(i * s, i * s + (k - 1) * d + 1, d)
                for i, s, k, d in zip(place, self.step, kernel, self.dilation, strict=True)
            )
            out[(slice(None), p, slice(None), *taps)] = weight
        return out

    def __str__(self) -> str:
        after = "" if self.activation.name == "identity" else f" {self.activation.name}"
        return f"{self.kind} pool {'x'.join(map(str, self.window))}{after}"


class _Sized:
    """What follows from a weight's shape alone."""

    name: str | None
    groups: int
    pool: Pool | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        raise NotImplementedError

    @property
    def edge_shape(self) -> tuple[int, ...]:
        """Shape of the per-edge results: the weight's, with the whole receptive field if pooled."""
        n_out, n_in, *kernel = self.shape
        return (n_out, n_in, *(self.pool.field(tuple(kernel)) if self.pool else kernel))

    @property
    def n_out(self) -> int:
        """Number of output neurons (channels of a convolution)."""
        return self.shape[0]

    @property
    def n_in(self) -> int:
        """Number of input neurons: of the whole receptive field for a convolution."""
        return math.prod(self.edge_shape[1:]) * self.groups

    @property
    def is_dense(self) -> bool:
        """Whether the weight is a plain matrix."""
        return len(self.shape) == 2 and self.groups == 1

    @property
    def size_in(self) -> int:
        """What has to match the ``n_out`` of the layer before: neurons, or channels."""
        return self.shape[1] * self.groups


@dataclass(frozen=True, eq=False)
class Layer(_Sized):
    """One layer ``y = f(W x + b)``.

    Parameters
    ----------
    weight : array_like, shape (n_out, n_in)
        As PyTorch keeps it. A convolution's, ``(n_out, n_in / groups, *kernel)``, is the dense
        layer of one output position's receptive field.
    bias : array_like, shape (n_out,), optional
        Zero when left out.
    activation : str or Activation
        See :func:`eiplane.get_activation`. The default is sigmoid, as in the paper.
    name : str, optional
        What results and errors call it.
    groups : int
        Of a grouped convolution: output ``B`` sees the inputs of its group alone.
    pool : Pool, optional
        A pooling that follows the convolution and its activation. The layer's inputs are then the
        whole receptive field of one pooled output.

    Raises
    ------
    TypeError, ValueError
        For weights that are not real, finite and at least two-dimensional, a bias that does not
        fit, an unknown activation. The message names the layer and the remedy.
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    activation: Activation = field(default="sigmoid")  # type: ignore[assignment]
    name: str | None = None
    groups: int = 1
    pool: Pool | None = None

    def __post_init__(self) -> None:
        title = f"layer {self.name!r}" if self.name is not None else "layer"
        weight = real_array(self.weight, f"{title}: weight")
        if weight.ndim < 2:
            raise ValueError(
                f"{title}: weight must have shape (n_out, n_in), not {weight.shape}"
                + ("; for a single output use weight[None, :]" if weight.ndim == 1 else "")
            )
        if weight.size == 0:
            raise ValueError(f"{title}: weight of shape {weight.shape} is empty")
        try:
            activation = get_activation(self.activation)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{title}: {error}") from None
        bias = self.bias
        if bias is not None:
            bias = real_array(bias, f"{title}: bias")
            if bias.shape != (weight.shape[0],):
                raise ValueError(
                    f"{title}: bias must have shape ({weight.shape[0]},), one number an output, "
                    f"not {bias.shape}"
                )
        groups = self.groups
        if not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups:
            raise ValueError(
                f"{title}: groups must be a positive divisor of the {weight.shape[0]} outputs, "
                f"not {groups!r}"
            )
        if self.pool is not None and len(self.pool.window) != weight.ndim - 2:
            raise ValueError(
                f"{title}: a pooling of {len(self.pool.window)} dimensions does not fit a weight "
                f"of shape {weight.shape}"
            )
        for f in (activation,) if self.pool is None else (activation, self.pool.activation):
            if f.rows not in (None, weight.shape[0]):
                raise ValueError(
                    f"{title}: {f.title} has functions for {f.rows} outputs, but there are "
                    f"{weight.shape[0]}"
                )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "activation", activation)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(map(int, self.weight.shape))

    @property
    def function(self) -> str:
        """What follows the linear map, in words: the activation and the pooling."""
        return self.activation.name + ("" if self.pool is None else f", {self.pool}")

    def matrix(self) -> Array:
        """Return the weight as a float64 matrix.

        Returns
        -------
        ndarray of float64, shape (n_out, n_in / groups)
            C-contiguous; a row holds the inputs that the output sees.
        """
        return np.ascontiguousarray(self.weight.reshape(self.n_out, -1), dtype=np.float64)

    def offsets(self) -> Array:
        """Return the bias as float64, zeros where there is none.

        Returns
        -------
        ndarray of float64, shape (n_out,)
        """
        if self.bias is None:
            return np.zeros(self.n_out)
        return np.ascontiguousarray(self.bias, dtype=np.float64)

    def unpooled(self) -> Layer:
        """Return the dense layer from the whole receptive field to every position of the pooling.

        Returns
        -------
        Layer
            Of shape ``(n_out * positions, n_in / groups)``, the positions of one channel next to
            each other. Pooling groups of ``pool.positions`` neighbours gives this layer's outputs.
            The layer itself if it has no pooling.
        """
        if self.pool is None:
            return self
        weight = self.pool.spread(self.weight).reshape(self.n_out * self.pool.positions, -1)
        bias = None if self.bias is None else np.repeat(self.bias, self.pool.positions)
        activation = self.activation.repeated(self.pool.positions)
        return Layer(weight, bias, activation, self.name, self.groups)

    def __call__(self, x: ArrayLike) -> Array:
        """Return the layer's output.

        Parameters
        ----------
        x : array_like, shape (..., n_in)
            Inputs; for a grouped convolution the groups' receptive fields one after the other.

        Returns
        -------
        ndarray of float64, shape (..., n_out)
        """
        if self.pool is not None:
            y = self.unpooled()(x)
            y = y.reshape(*y.shape[:-1], self.n_out, self.pool.positions)
            return self.pool.activation(y.max(-1) if self.pool.kind == "max" else y.mean(-1))
        x = np.asarray(x, dtype=np.float64)
        matrix = self.matrix()
        blocks = x.reshape(*x.shape[:-1], self.groups, -1)
        rows = matrix.reshape(self.groups, -1, matrix.shape[1])
        z = np.einsum("...gi,goi->...go", blocks, rows).reshape(*x.shape[:-1], self.n_out)
        return self.activation(z + self.offsets())

    def load(self) -> Layer:
        """Return the layer itself; layers that live in a file read their weights here."""
        return self

    def renamed(self, name: str) -> Layer:
        """Return the same layer under another name."""
        return replace(self, name=name)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name is not None else ""
        shape = "x".join(map(str, self.weight.shape))
        bias = "bias" if self.bias is not None else "no bias"
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        pool = f", {self.pool}" if self.pool is not None else ""
        return f"Layer({name}{shape}, {bias}, {self.activation.name}{groups}{pool})"


@dataclass(frozen=True, eq=False)
class LazyLayer(_Sized):
    """A layer whose weights are read, and checked, when they are needed.

    Parameters
    ----------
    name : str
    weight_shape : tuple of int
    activation : str or Activation
    read : callable
        Returns the :class:`Layer`.
    """

    name: str | None
    weight_shape: tuple[int, ...]
    activation: Activation
    read: Callable[[], Layer] = field(repr=False)
    groups: int = 1
    pool: Pool | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.weight_shape

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "activation", get_activation(self.activation))
        except (TypeError, ValueError) as error:
            raise type(error)(f"layer {self.name!r}: {error}") from None

    def load(self) -> Layer:
        """Return the layer with its weights.

        Raises
        ------
        TypeError, ValueError
            As :class:`Layer` does, and whatever reading a bad file raises.
        """
        return self.read()

    def renamed(self, name: str) -> LazyLayer:
        """Return the same layer under another name."""
        return replace(self, name=name, read=lambda: self.read().renamed(name))


@dataclass(frozen=True, eq=False)
class Network(Sequence[Layer | LazyLayer]):
    """Layers in order of execution.

    Parameters
    ----------
    layers : iterable of Layer or LazyLayer
        At least one; unnamed ones become ``"0"``, ``"1"``, ...
    chained : bool
        Whether layers feed each other (their sizes are checked, and each takes the range of the one
        before) or every layer stands alone, as in a file of weights.
    sources : mapping of str to tuple of str, optional
        Which layers feed a layer, by name. An empty tuple: none directly, its inputs have the
        network's own range. When left out, each feeds the next.
    in_ranges : mapping of str to tuple of float, optional
        Known ranges of the inputs of layers that something other than a layer feeds, such as the
        hidden state of an LSTM.
    straight : collection of str, optional
        The dense layers whose inputs are, in order, the outputs of their one, dense source; sizes
        are checked. When left out, all dense ones that have one dense source.
    inputs : mapping of str to RangeRule, optional
        How the range of a layer's inputs follows, where that is more than its sources' outputs.

    Raises
    ------
    ValueError
        For no layers, names given twice, sources that are no layers of it, or sizes that do not
        chain.
    """

    layers: tuple[Layer | LazyLayer, ...]
    chained: bool = True
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    straight: frozenset[str] = frozenset()
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        layers: Iterable[Layer | LazyLayer],
        chained: bool = True,
        sources: Mapping[str, tuple[str, ...]] | None = None,
        in_ranges: Mapping[str, tuple[float, float]] | None = None,
        straight: Iterable[str] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        named = tuple(
            layer if layer.name is not None else layer.renamed(str(i))
            for i, layer in enumerate(layers)
        )
        if not named:
            raise ValueError("no layers were given; eiplane needs at least one weight matrix")
        by_name: dict[str, Layer | LazyLayer] = {}
        for layer in named:
            name = str(layer.name)
            if name in by_name:
                raise ValueError(f"two layers are named {name!r}; names must be unique")
            by_name[name] = layer
        names = list(by_name)
        place = {name: i for i, name in enumerate(names)}
        if not chained:
            wiring: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
        elif sources is None:
            wiring = {b: (a,) for a, b in itertools.pairwise(names)} | {names[0]: ()}
        else:
            wiring = {name: tuple(sources.get(name, ())) for name in names}
        for name, before in wiring.items():
            for source in before:
                if place.get(source, len(names)) >= place[name]:
                    raise ValueError(f"layer {name!r}: its source {source!r} is no layer before it")
        linked = {name: before[0] for name, before in wiring.items() if len(before) == 1}
        if straight is not None:
            linked = {name: linked[name] for name in straight if name in linked}
        dense = {
            name
            for name, before in linked.items()
            if by_name[name].is_dense and by_name[before].is_dense
        }
        for name in names:
            if name in dense:
                _check_link(by_name[linked[name]], by_name[name])
        object.__setattr__(self, "layers", named)
        object.__setattr__(self, "chained", chained)
        object.__setattr__(self, "sources", wiring)
        object.__setattr__(self, "in_ranges", dict(in_ranges or {}))
        object.__setattr__(self, "straight", frozenset(dense))
        object.__setattr__(self, "inputs", dict(inputs or {}))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(str(layer.name) for layer in self.layers)

    def in_range_of(
        self,
        name: str,
        in_range: tuple[float, float],
        out_ranges: Mapping[str, tuple[float, float]],
    ) -> tuple[float, float]:
        """Return the range of a layer's inputs.

        Parameters
        ----------
        name : str
        in_range : tuple of float
            The network's own.
        out_ranges : mapping of str to tuple of float
            Output ranges of (at least) the layers that feed it.

        Returns
        -------
        tuple of float
            The output range of what feeds it, joined where several layers do; its own known range
            if it has one; ``in_range`` if no layer feeds it.
        """
        if name in self.in_ranges:
            return self.in_ranges[name]
        ranges = [out_ranges[source] for source in self.sources[name]]
        if not ranges:
            return in_range
        return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer | LazyLayer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer | LazyLayer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer | LazyLayer]: ...
    def __getitem__(self, index: int | slice) -> Layer | LazyLayer | Sequence[Layer | LazyLayer]:
        return self.layers[index]


def _check_link(before: _Sized, after: _Sized) -> None:
    if after.size_in == before.n_out:
        return
    message = (
        f"layer {after.name!r} takes {after.size_in} inputs but layer {before.name!r} has "
        f"{before.n_out} outputs (weights {after.shape} after {before.shape})"
    )
    if after.n_out == before.n_out:
        message += f"; weights are (n_out, n_in), so transposing {after.name!r} would fix it"
    elif before.size_in == after.size_in:
        message += f"; weights are (n_out, n_in), so transposing {before.name!r} would fix it"
    elif before.size_in == after.n_out:
        message += "; weights are (n_out, n_in), so transposing both would fix it"
    raise ValueError(message)
