"""A layer and a network: weights, bias, activation and shape, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Activation, get_activation

__all__ = ["Layer", "Network", "real_array"]

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
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(
                f"{what} has {int(bad.sum())} entries that are NaN or infinite, the first "
                f"{array[where]} at {list(where)}; replace them before measuring"
            )
    return array


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer ``y = f(W x + b)``.

    Parameters
    ----------
    weight : array_like, shape (n_out, n_in)
        As PyTorch keeps it. A convolution's, ``(n_out, n_in / groups, *kernel)``, is the dense
        layer of one output position's receptive field.
    bias : array_like, shape (n_out,), optional
        Zero when left out.
    activation : str or Activation
        See :func:`eiplane.activation.get_activation`. The default is sigmoid, as in the paper.
    name : str, optional
        What results and errors call it.
    groups : int
        Of a grouped convolution: output ``B`` sees the inputs of its group alone.

    Raises
    ------
    TypeError, ValueError
        For weights that are not real, finite and at least two-dimensional, a bias that does not fit,
        an unknown activation. The message names the layer and the remedy.
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    activation: Activation = field(default="sigmoid")  # type: ignore[assignment]
    name: str | None = None
    groups: int = 1

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
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "activation", activation)

    @property
    def n_out(self) -> int:
        """Number of output neurons (channels of a convolution)."""
        return int(self.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Number of input neurons: of the whole receptive field for a convolution."""
        return int(np.prod(self.weight.shape[1:])) * self.groups

    @property
    def is_dense(self) -> bool:
        """Whether the weight is a plain matrix."""
        return self.weight.ndim == 2 and self.groups == 1

    @property
    def size_in(self) -> int:
        """What has to match the ``n_out`` of the layer before: neurons, or channels."""
        return int(self.weight.shape[1]) * self.groups

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
        return f"Layer({name}{shape}, {bias}, {self.activation.name}{groups})"


@dataclass(frozen=True, eq=False)
class Network(Sequence[Layer]):
    """Layers in order of execution.

    Parameters
    ----------
    layers : iterable of Layer
        At least one; unnamed ones become ``"0"``, ``"1"``, ...
    chained : bool
        Whether each layer feeds the next one (their sizes are checked, and each takes the range of
        the one before) or every layer stands alone, as in a file of weights.

    Raises
    ------
    ValueError
        For no layers, names given twice, or sizes that do not chain.
    """

    layers: tuple[Layer, ...]
    chained: bool = True

    def __init__(self, layers: Iterable[Layer], chained: bool = True) -> None:
        named = tuple(
            layer if layer.name is not None else layer.renamed(str(i))
            for i, layer in enumerate(layers)
        )
        if not named:
            raise ValueError("no layers were given; eiplane needs at least one weight matrix")
        seen: set[str | None] = set()
        for layer in named:
            if layer.name in seen:
                raise ValueError(f"two layers are named {layer.name!r}; names must be unique")
            seen.add(layer.name)
        if chained:
            for before, after in zip(named, named[1:], strict=False):
                _check_link(before, after)
        object.__setattr__(self, "layers", named)
        object.__setattr__(self, "chained", chained)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer]: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequence[Layer]:
        return self.layers[index]


def _check_link(before: Layer, after: Layer) -> None:
    if after.size_in == before.n_out or not (before.is_dense and after.is_dense):
        return
    message = (
        f"layer {after.name!r} takes {after.size_in} inputs but layer {before.name!r} has "
        f"{before.n_out} outputs (weights {after.weight.shape} after {before.weight.shape})"
    )
    if after.n_out == before.n_out:
        message += f"; weights are (n_out, n_in), so transposing {after.name!r} would fix it"
    elif before.size_in == after.size_in:
        message += f"; weights are (n_out, n_in), so transposing {before.name!r} would fix it"
    elif before.size_in == after.n_out:
        message += "; weights are (n_out, n_in), so transposing both would fix it"
    raise ValueError(message)
