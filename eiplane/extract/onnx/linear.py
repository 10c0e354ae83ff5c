"""Linear maps of ONNX: products and convolutions with a constant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Unknown
from ..flow import Codes, Convolution, Operand
from ..flow.combined import product
from ..flow.patches import keep_fields, keep_rows
from ..flow.signals import Map
from .call import Call, Tensor, precision_of
from .kernels import pads_of

if TYPE_CHECKING:
    from .run import Run

__all__ = ["LINEAR"]

Array = NDArray[Any]

#: Matrices in a stack that become layers of their own, at most.
_MOST = 4096


@dataclass(frozen=True, eq=False)
class _Contraction:
    """A product of an array and a constant over some axes, each named by a letter.

    Parameters
    ----------
    x, weight, out : str
        Letters of the axes.
    """

    x: str
    weight: str
    out: str

    def groups(self) -> tuple[str, str, str, str] | None:
        """Return the letters of the stack, the outputs, the inputs and the places, if it is one."""
        for letters in (self.x, self.weight, self.out):
            if len(set(letters)) != len(letters):
                return None
        stack = "".join(c for c in self.weight if c in self.x and c in self.out)
        inputs = "".join(c for c in self.weight if c in self.x and c not in self.out)
        outputs = "".join(c for c in self.weight if c not in self.x and c in self.out)
        places = "".join(c for c in self.x if c not in self.weight)
        left = [c for c in self.weight if c not in stack + inputs + outputs]
        if left or set(places) - set(self.out) or len(self.out) != len(stack + outputs + places):
            return None
        return stack, outputs, inputs, places


def _arranged(array: Array, letters: str, order: Sequence[str]) -> Array:
    """Return an array with its axes in another order, some of them joined."""
    turned = array.transpose([letters.index(c) for group in order for c in group])
    sizes = dict(zip(letters, array.shape, strict=True))
    return turned.reshape([int(np.prod([sizes[c] for c in g], dtype=np.int64)) for g in order])


def _contracted(
    run: Run, call: Call, x: Operand, weight: Tensor, values: Array, how: _Contraction,
    bias: tuple[Tensor | None, Array | None] = (None, None),
) -> Codes | None:  # fmt: skip
    """Report a product with a constant; None if it is none with a matrix, or several."""
    groups = how.groups()
    if groups is None or x.codes is None:
        return None
    stack, outputs, inputs, places = groups
    if not inputs:
        return None  # nothing is summed
    matrices = _arranged(values, how.weight, [stack, outputs, inputs])
    codes = _arranged(x.codes, how.x, [stack, places, inputs])
    numbers = _arranged(np.asarray(x.read()), how.x, [stack, places, inputs])
    out = _arranged(call.out, how.out, [stack, places, outputs])
    names = run.names_of(weight, *bias[:1])
    if len(matrices) > _MOST:
        run.note(weight.names, f"a stack of {len(matrices)} matrices, multiplied in one go")
        return run.flow.event("matrices", [x], call.shape, lambda _: Unknown(),
                              unknown="it goes to a stack of matrices")  # fmt: skip
    run.covered |= weight.names
    made, place = [], _distinct(matrices)
    for k, matrix in enumerate(matrices):
        suffix = f"[{place[k]}]" if len(matrices) > 1 else ""
        # The letters of the weight: used in another orientation it is another layer.
        key = (*names, tuple(matrix.shape), how.weight.index(inputs[0]), suffix)
        layer = Map(run.name(call, weight) + suffix, key, matrix, bias[1],
                    sections=_sections(weight, matrix.shape), still=run.still)  # fmt: skip
        part = Operand(codes[k], lambda k=k: numbers[k], x.precision)  # type: ignore[misc]
        layer.straight = run.flow.signals.straight(part.codes, -1)
        keep_rows(layer, numbers[k], out[k], precision_of(call.out.dtype))
        shape = out[k].shape
        made.append(run.flow.map(layer, part, Operand(None, lambda k=k: out[k]), shape, 1))  # type: ignore[misc]
    sizes = dict(zip(how.out, call.shape, strict=True))
    letters = stack + places + outputs
    whole = np.stack(made).reshape([sizes[c] for c in letters])
    return np.ascontiguousarray(whole.transpose([letters.index(c) for c in how.out]))


def _sections(weight: Tensor, shape: tuple[int, ...]) -> list[tuple[str, slice]]:
    """Return the blocks of a matrix that torch's attention names as one."""
    (name, *more) = weight.names or ("",)
    n_out, n_in = shape
    if more or name.rpartition(".")[2] != "in_proj_weight" or n_out != 3 * n_in:
        return []
    return [(s, slice(k * n_in, (k + 1) * n_in)) for k, s in enumerate("qkv")]


def _distinct(matrices: Array) -> list[int]:
    """Return for each matrix of a stack which of the different ones it is."""
    if len(matrices) == 1:
        return [0]
    numbered: dict[bytes, int] = {}
    keys = (hashlib.blake2b(np.ascontiguousarray(m).tobytes()).digest() for m in matrices)
    return [numbered.setdefault(key, len(numbered)) for key in keys]


def _matmul(run: Run, call: Call) -> Any:
    a, b = call.tensor(0), call.tensor(1)
    letters = "abcdefghijklmnopqrstuvw"
    rank = max(a.value.ndim, b.value.ndim, 2) - 2
    batch = letters[:rank]
    of_a = batch[rank - (a.value.ndim - 2) :] + "xz" if a.value.ndim > 1 else "z"
    of_b = batch[rank - (b.value.ndim - 2) :] + "zy" if b.value.ndim > 1 else "z"
    out = batch + ("x" if a.value.ndim > 1 else "") + ("y" if b.value.ndim > 1 else "")
    if a.codes is not None and b.codes is not None:
        return _both(run, call, a.operand(), b.operand(), of_a, of_b, out)
    weight, x = (b, a) if a.codes is not None else (a, b)
    of_weight, of_x = (of_b, of_a) if a.codes is not None else (of_a, of_b)
    sizes = dict(zip(out, call.shape, strict=True))
    values, of_weight = _squeezed(weight.value, of_weight, batch)
    operand = _widened(x.operand(), of_x, sizes)
    made = _contracted(run, call, operand, weight, values, _Contraction(of_x, of_weight, out))
    return run.unknown(call) if made is None else made


def _squeezed(values: Array, letters: str, batch: str) -> tuple[Array, str]:
    """Return a weight without the axes of size 1 that only broadcast."""
    once = [k for k, c in enumerate(letters) if c in batch and values.shape[k] == 1]
    kept = "".join(c for k, c in enumerate(letters) if k not in once)
    return values.reshape([n for k, n in enumerate(values.shape) if k not in once]), kept


def _widened(x: Operand, letters: str, sizes: dict[str, int]) -> Operand:
    """Return an operand broadcast over the axes in which the weight changes."""
    codes = x.codes
    assert codes is not None
    shape = tuple(sizes[c] if c in sizes and c != "z" else n
                  for c, n in zip(letters, codes.shape, strict=True))  # fmt: skip
    if shape == codes.shape:
        return x
    return Operand(np.broadcast_to(codes, shape), lambda: np.broadcast_to(x.read(), shape),
                   x.precision)  # fmt: skip


def _both(run: Run, call: Call, a: Operand, b: Operand, of_a: str, of_b: str, out: str) -> Codes:
    """Report a product of two signals."""
    summed = [c for c in of_a if c in of_b and c not in out]
    sizes = dict(zip(of_a, np.asarray(a.read()).shape, strict=True))
    width = int(np.prod([sizes[c] for c in summed], dtype=np.int64))
    if summed == [of_b[-1]] and summed != [of_a[-1]]:
        a, b = b, a  # whichever is summed over its last axis may be shares of a whole
    return product(run.flow, call.kind, a, b, width, call.shape)


def _gemm(run: Run, call: Call) -> Any:
    options = call.attributes
    alpha, beta = float(options.get("alpha", 1.0)), float(options.get("beta", 1.0))
    of_a = "zx" if options.get("transA", 0) else "xz"
    of_b = "yz" if options.get("transB", 0) else "zy"
    n_out = call.shape[-1]
    fits = not call.has(2) or (
        not call.dynamic(2) and call.value(2).shape in ((), (1,), (n_out,), (1, n_out), (1, 1))
    )
    if not fits or call.dynamic(0) == call.dynamic(1):
        return NotImplemented
    right = call.dynamic(0)
    if not right and call.has(2):
        return NotImplemented  # a row's number is added to all outputs
    x, weight = (call.tensor(0), call.tensor(1)) if right else (call.tensor(1), call.tensor(0))
    values = weight.value if alpha == 1.0 else weight.value * weight.value.dtype.type(alpha)
    bias: tuple[Tensor | None, Array | None] = (None, None)
    if call.has(2):
        offset = call.value(2).reshape(-1) * call.value(2).dtype.type(beta)
        bias = call.tensor(2), np.broadcast_to(offset, (n_out,))
    how = _Contraction(of_a, of_b, "xy") if right else _Contraction(of_b, of_a, "xy")
    return _contracted(run, call, x.operand(), weight, values, how, bias)


def _einsum(run: Run, call: Call) -> Any:
    equation = call.attributes["equation"]
    equation = equation.decode() if isinstance(equation, bytes) else equation
    equation = equation.replace(" ", "")
    left, _, out = equation.partition("->")
    terms = left.split(",")
    if len(terms) != 2 or len(call.inputs) != 2:
        return run.unknown(call)
    if "->" not in equation:
        joined = "".join(terms).replace(".", "")
        out = ("..." if "..." in left else "") + "".join(
            sorted(c for c in set(joined) if joined.count(c) == 1)
        )
    ranks = [call.value(k).ndim for k in (0, 1)]
    most = max([0, *(r - len(t.replace("...", "")) for r, t in zip(ranks, terms, strict=True)
                     if "..." in t)])  # fmt: skip
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation][:most]
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        own = rank - len(term.replace("...", ""))
        spelled.append(term.replace("...", "".join(spare[most - own :] if own else [])))
    out = out.replace("...", "".join(spare))
    if call.dynamic(0) and call.dynamic(1):
        return _both(run, call, call.operand(0), call.operand(1), spelled[0], spelled[1], out)
    k = 0 if call.dynamic(0) else 1
    weight = call.tensor(1 - k)
    values, of_weight = _squeezed(weight.value, spelled[1 - k], "".join(spare))
    how = _Contraction(spelled[k], of_weight, out)
    made = _contracted(run, call, call.operand(k), weight, values, how)
    return run.unknown(call) if made is None else made


def _conv(run: Run, call: Call) -> Any:
    transposed = call.kind == "ConvTranspose"
    if not call.dynamic(0) or call.dynamic(1) or call.dynamic(2):
        return run.flow.event("a product", call.signals(), call.shape, lambda _: Unknown())
    weight = call.tensor(1)
    axes = weight.value.ndim - 2
    options, ones = call.attributes, [1] * axes
    conv = Convolution(
        tuple(int(s) for s in options.get("strides", ones)),
        tuple(int(d) for d in options.get("dilations", ones)),
        int(options.get("group", 1)),
        transposed,
    )
    bias = call.tensor(2) if call.has(2) else None
    run.covered |= weight.names
    key = (*run.names_of(weight, bias), tuple(weight.value.shape), repr(conv))
    made = Map(
        run.name(call, weight), key, weight.value, None if bias is None else bias.value, conv
    )
    x = call.operand(0)
    edges = True
    if not transposed:
        front, back = pads_of(options, call.value(0).shape[2:], weight.value.shape[2:])
        edges = any(front) or any(back)
        precision = precision_of(call.out.dtype)
        keep_fields(made, np.asarray(x.read()), call.out, front, precision)
    return run.flow.map(made, x, call.result(), call.shape, 1, edges)


LINEAR: dict[str, Callable[[Run, Call], Any]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(["Conv", "ConvTranspose"], _conv),
}
