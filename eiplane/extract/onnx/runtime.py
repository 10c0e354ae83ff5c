"""Nodes of ONNX Runtime's quantisers: others between grids, and products with packed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .call import Call

if TYPE_CHECKING:
    from .run import Run

__all__ = ["RUNTIME"]

Nodes = list[Any]
Make = Callable[..., Any]

#: Of one signal, then its scale and zero point, then those of the result: what they are in floats.
_ONE = {"QLinearLeakyRelu": "LeakyRelu", "QLinearSigmoid": "Sigmoid", "QLinearSoftmax": "Softmax",
        "QLinearAveragePool": "AveragePool",
        "QLinearGlobalAveragePool": "GlobalAveragePool"}  # fmt: skip

#: Of two.
_TWO = {"QLinearAdd": "Add", "QLinearMul": "Mul"}

#: Attributes that are not the float node's own.
_OTHERS = frozenset(["opset", "channels_last"])


def _name(call: Call, k: int) -> str:
    return str(call.node.input[k]) if k < len(call.node.input) else ""


def _floats(call: Call, make: Make, k: int, out: str, **options: Any) -> Any:
    """Return the node that takes an input from its grid: value, scale and zero point."""
    given = [_name(call, j) for j in range(k, k + 3)]
    return make("DequantizeLinear", [n for n in given if n], [out], **options)


def _grid(call: Call, make: Make, k: int, name: str) -> Any:
    """Return the node that puts the result on its grid; of a scale left out it stays a float."""
    if not _name(call, k):
        return make("Identity", [name], [call.node.output[0]])
    ends = [n for n in (_name(call, k), _name(call, k + 1)) if n]
    return make("QuantizeLinear", [name, *ends], [call.node.output[0]])


def _one(run: Run, call: Call, make: Make) -> Nodes | None:
    if call.attributes.get("channels_last", 0):
        return None
    options = {n: v for n, v in call.attributes.items() if n not in _OTHERS}
    return [_floats(call, make, 0, "%x"), make(_ONE[call.kind], ["%x"], ["%y"], **options),
            _grid(call, make, 3, "%y")]  # fmt: skip


def _two(run: Run, call: Call, make: Make) -> Nodes:
    return [_floats(call, make, 0, "%a"), _floats(call, make, 3, "%b"),
            make(_TWO[call.kind], ["%a", "%b"], ["%y"]), _grid(call, make, 6, "%y")]  # fmt: skip


def _joined(run: Run, call: Call, make: Make) -> Nodes:
    parts = range(2, len(call.node.input), 3)
    nodes = [_floats(call, make, k, f"%x{k}") for k in parts]
    axis = int(call.attributes.get("axis", 0))
    return [*nodes, make("Concat", [f"%x{k}" for k in parts], ["%y"], axis=axis),
            _grid(call, make, 0, "%y")]  # fmt: skip


def _qgemm(run: Run, call: Call, make: Make) -> Nodes:
    """``alpha A B + C`` between grids; C counts steps of ``alpha a_scale b_scale``."""
    alpha = float(call.attributes.get("alpha", 1.0))
    turned = {n: int(call.attributes.get(n, 0)) for n in ("transA", "transB")}
    nodes = [_floats(call, make, 0, "%a"),
             _floats(call, make, 3, "%b", axis=0 if turned["transB"] else 1)]  # fmt: skip
    inputs = ["%a", "%b"]
    if _name(call, 6):
        nodes += [
            make("Mul", [_name(call, 1), _name(call, 4)], ["%step"]),
            make("Cast", [_name(call, 6)], ["%whole"], to=1),
            make("Mul", ["%whole", "%step"], ["%steps"]),
            run.number("%alpha", alpha, np.float32),
            make("Mul", ["%steps", "%alpha"], ["%c"]),
        ]
        inputs.append("%c")
    return [*nodes, make("Gemm", inputs, ["%y"], alpha=alpha, **turned),
            _grid(call, make, 7, "%y")]  # fmt: skip


def _dynamic(run: Run, call: Call, make: Make) -> Nodes:
    """A product of floats with whole numbers, whose inputs are rounded on the way."""
    zero, bias = _name(call, 3), _name(call, 4)
    scaled = [_name(call, 1), _name(call, 2), *([zero] if zero else [])]
    nodes = [make("DequantizeLinear", scaled, ["%b"], axis=1)]
    out = call.node.output[0]
    nodes.append(make("MatMul", [_name(call, 0), "%b"], ["%y" if bias else out]))
    return nodes + ([make("Add", ["%y", bias], [out])] if bias else [])


def _few_bits(run: Run, call: Call, make: Make) -> Nodes | None:
    """A product with a matrix of 2, 4 or 8 bits an entry, in blocks with a scale each."""
    fixed = not any(call.dynamic(k) for k in range(1, len(call.inputs)))
    if not fixed or (_name(call, 4)):
        return None  # rows in another order
    given = call.attributes
    rows, columns, bits = int(given["N"]), int(given["K"]), int(given.get("bits", 4))
    block = int(given["block_size"])
    if bits not in (2, 4, 8):
        return None
    per_row = -(-columns // block)
    whole = _unpacked(call.value(1).reshape(rows, per_row, -1), bits)
    scales = call.value(2).astype(np.float32).reshape(rows, per_row, 1)
    middle: NDArray[Any] = np.full((rows, per_row, 1), float(1 << (bits - 1)), np.float32)
    if call.has(3):
        zero = call.value(3)
        if zero.dtype == np.uint8:
            zero = _unpacked(zero.reshape(rows, -1), bits)[:, :per_row]
        middle = zero.astype(np.float32).reshape(rows, per_row, 1)
    matrix = ((whole - middle) * scales).reshape(rows, -1)[:, :columns]
    name = call.tensor(1).own or _name(call, 1)
    run.make_weight(f"{name} %weight", np.ascontiguousarray(matrix.T), call.tensor(1))
    out, bias = call.node.output[0], _name(call, 5)
    nodes = [make("MatMul", [_name(call, 0), f"{name} %weight"], ["%y" if bias else out])]
    return nodes + ([make("Add", ["%y", bias], [out])] if bias else [])


def _unpacked(packed: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Return numbers of a few bits each, the lowest of a byte first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    apart = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return apart.reshape(*packed.shape[:-1], -1).astype(np.float32)


#: Each returns the nodes that do the same, or None if there are none.
RUNTIME: dict[str, Callable[[Run, Call, Make], Nodes | None]] = {
    **dict.fromkeys(_ONE, _one),
    **dict.fromkeys(_TWO, _two),
    "QLinearConcat": _joined,
    "QGemm": _qgemm,
    "DynamicQuantizeMatMul": _dynamic,
    "MatMulNBits": _few_bits,
}
