"""A layer: weights, bias, activation and shape, checked once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Activation
from .known import get_activation
from .limits import MOST
from .pool import Pool
from .sums import RowSums

__all__ = ["Layer", "LazyLayer", "check_reach", "real_array", "refuse_masked"]

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
        If an entry is NaN or infinite (it names the first), or masked.
    """
    refuse_masked(value, what)
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


def refuse_masked(value: Any, what: str) -> None:
    """Raise ValueError for an array that says of entries that they are missing.

    Parameters
    ----------
    value : object
    what : str
        What it is, for the error.
    """
    plain = type(value) is np.ndarray or not isinstance(value, np.ndarray)
    if not plain and isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        missing = int(np.asarray(value.mask).sum())
        raise ValueError(
            f"{what} has {missing} masked entries; fill them before measuring, e.g. with .filled(0)"
        )


def _check_size(array: NDArray[Any], what: str) -> None:
    """Raise ValueError if products of an array's numbers would leave float64."""
    if array.dtype.kind != "f" or array.dtype.itemsize < 8 or array.size == 0:
        return
    if max(float(array.max()), -float(array.min())) > MOST:
        at = np.unravel_index(int(np.argmax(np.abs(array))), array.shape)
        raise ValueError(
            f"{what} reaches {float(array[at]):.4g} at {[int(i) for i in at]}, whose products "
            f"leave float64 (the most is {MOST:g}); scale it down"
        )


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

    if TYPE_CHECKING:
        # What may be given is more than what is kept.
        def __init__(
            self,
            weight: ArrayLike,
            bias: ArrayLike | None = None,
            activation: str | Activation = "sigmoid",
            name: str | None = None,
            groups: int = 1,
            pool: Pool | None = None,
        ) -> None: ...

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
        _check_size(weight, f"{title}: weight")
        try:
            activation = get_activation(self.activation)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{title}: {error}") from None
        bias = self.bias
        if bias is not None:
            bias = real_array(bias, f"{title}: bias")
            _check_size(bias, f"{title}: bias")
            if bias.shape != (weight.shape[0],):
                turned = weight.ndim == 2 and bias.shape == (weight.shape[1],)
                hint = "; it fits the weight's transpose, as which other libraries keep it"
                raise ValueError(
                    f"{title}: bias must have shape ({weight.shape[0]},), one number an output, "
                    f"not {bias.shape}" + (hint if turned else "")
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
        return np.require(self.weight.reshape(self.n_out, -1), np.float64, ("C", "A"))

    def rows(self) -> NDArray[Any]:
        """Return the weight as a matrix of its own type, without a copy.

        Returns
        -------
        ndarray, shape (n_out, n_in / groups)
        """
        return self.weight.reshape(self.n_out, -1)

    def offsets(self) -> Array:
        """Return the bias as float64, zeros where there is none.

        Returns
        -------
        ndarray of float64, shape (n_out,)
        """
        if self.bias is None:
            return np.zeros(self.n_out)
        return np.require(self.bias, np.float64, ("C", "A"))

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


def check_reach(layer: Layer, in_range: tuple[float, float], sums: RowSums | None = None) -> None:
    """Raise ValueError if a pre-activation, or its square, can leave float64.

    Parameters
    ----------
    layer : Layer
    in_range : tuple of float
        The range of every input.
    sums : RowSums, optional
        Of the rows of the layer's weight.
    """
    most = max(abs(in_range[0]), abs(in_range[1]))
    weight = layer.weight.reshape(layer.n_out, -1)
    if sums is not None:
        largest = sums.largest
    else:
        largest = max(float(weight.max()), -float(weight.min()), 0.0)
    if largest < MOST / max(1.0, most) / weight.shape[1]:  # as always
        return
    with np.errstate(over="ignore"):
        reach = float((np.abs(weight).sum(axis=1, dtype=np.float64)).max()) * most
    if reach > MOST:
        raise ValueError(
            f"layer {layer.name!r}: weights of up to {largest:.4g} times inputs of up to "
            f"{most:.4g} leave float64 (the most is {MOST:g}); scale them down"
        )
