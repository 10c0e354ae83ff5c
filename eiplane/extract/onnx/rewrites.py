"""Nodes that stand for several others: quantised products, and what optimisers have fused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .call import Call
from .runtime import RUNTIME

if TYPE_CHECKING:
    from .run import Run

__all__ = ["REWRITES"]

Nodes = list[Any]
Make = Callable[..., Any]


def _kept(call: Call, *names: str) -> dict[str, Any]:
    return {n: call.attributes[n] for n in names if n in call.attributes}


_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _gemm(run: Run, call: Call, make: Make) -> Nodes:
    """A product whose third term is no number for each output."""
    a, b, *c = call.node.input
    alpha, beta = (float(call.attributes.get(k, 1.0)) for k in ("alpha", "beta"))
    nodes = []
    for k, (name, flag) in enumerate(((a, "transA"), (b, "transB"))):
        if call.attributes.get(flag, 0):
            nodes.append(make("Transpose", [name], [f"%turned{k}"], perm=[1, 0]))
    left = "%turned0" if call.attributes.get("transA", 0) else a
    right = "%turned1" if call.attributes.get("transB", 0) else b
    nodes.append(make("MatMul", [left, right], ["%product"]))
    nodes += _times(run, make, "%product", alpha, "%scaled", call.value(0).dtype)
    if c and c[0]:
        nodes += _times(run, make, c[0], beta, "%term", call.value(0).dtype)
        nodes.append(make("Add", ["%scaled", "%term"], [call.node.output[0]]))
    else:
        nodes.append(make("Identity", ["%scaled"], [call.node.output[0]]))
    return nodes


def _times(run: Run, make: Make, name: str, factor: float, out: str, dtype: Any) -> Nodes:
    if factor == 1.0:
        return [make("Identity", [name], [out])]
    return [run.number(f"{out} factor", factor, dtype),
            make("Mul", [name, f"{out} factor"], [out])]  # fmt: skip


def _quantised_conv(run: Run, call: Call, make: Make) -> Nodes:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = call.node.input
    inputs = ["%x", "%w"]
    nodes = [
        make("DequantizeLinear", [x, x_scale, x_zero], ["%x"]),
        make("DequantizeLinear", [w, w_scale, w_zero], ["%w"], axis=0),
    ]
    if bias and bias[0]:
        nodes += [make("Mul", [x_scale, w_scale], ["%step"]), make("Cast", [bias[0]], ["%b"], to=1),
                  make("Mul", ["%b", "%step"], ["%bias"])]  # fmt: skip
        inputs.append("%bias")
    return [
        *nodes,
        make("Conv", inputs, ["%y"], **_kept(call, *_CONV)),
        make("QuantizeLinear", ["%y", y_scale, y_zero], [call.node.output[0]]),
    ]


def _quantised_product(run: Run, call: Call, make: Make) -> Nodes:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = call.node.input
    return [
        make("DequantizeLinear", [a, a_scale, a_zero], ["%a"]),
        make("DequantizeLinear", [b, b_scale, b_zero], ["%b"], axis=call.value(3).ndim - 1),
        make("MatMul", ["%a", "%b"], ["%y"]),
        make("QuantizeLinear", ["%y", y_scale, y_zero], [call.node.output[0]]),
    ]


def _integers(run: Run, call: Call, make: Make) -> Nodes:
    """A product of whole numbers, less their zero points."""
    nodes, taken = [], []
    for k in (0, 1):
        name = call.node.input[k]
        nodes.append(make("Cast", [name], [f"%float{k}"], to=1))
        taken.append(f"%float{k}")
        if call.has(k + 2):
            zero = f"%zero{k}"
            nodes.append(make("Cast", [call.node.input[k + 2]], [zero], to=1))
            sides = call.value(k).ndim if call.kind == "ConvInteger" and k == 1 else 0
            if sides and call.value(k + 2).size > 1:
                nodes += [run.whole("%sides", [-1, *(1,) * (sides - 1)]),
                          make("Reshape", [zero, "%sides"], [f"%zeros{k}"])]  # fmt: skip
                zero = f"%zeros{k}"
            nodes.append(make("Sub", [f"%float{k}", zero], [f"%less{k}"]))
            taken[-1] = f"%less{k}"
    if call.kind == "ConvInteger":
        nodes.append(make("Conv", taken, [call.node.output[0]], **_kept(call, *_CONV)))
    else:
        nodes.append(make("MatMul", taken, [call.node.output[0]]))
    return nodes


def _fused_product(run: Run, call: Call, make: Make) -> Nodes:
    nodes, taken = [], []
    for k, flag in enumerate(("transA", "transB")):
        name = call.node.input[k]
        if call.attributes.get(flag, 0):
            axes = list(range(call.value(k).ndim))
            axes[-2:] = axes[-1], axes[-2]
            nodes.append(make("Transpose", [name], [f"%turned{k}"], perm=axes))
            name = f"%turned{k}"
        taken.append(name)
    alpha = float(call.attributes.get("alpha", 1.0))
    nodes.append(make("MatMul", taken, ["%product"]))
    out = call.node.output[0]
    return nodes + _times(run, make, "%product", alpha, out, call.value(0).dtype)


def _fused(run: Run, call: Call, make: Make) -> Nodes | None:
    """A convolution or a product with its activation."""
    said = call.attributes.get("activation", b"")
    activation = said.decode() if isinstance(said, bytes) else said
    options: dict[str, Any] = {}
    if call.kind == "FusedConv":
        numbers = list(call.attributes.get("activation_params", []))
        names = {"LeakyRelu": ["alpha"], "HardSigmoid": ["alpha", "beta"]}.get(activation, [])
        options = dict(zip(names, numbers, strict=False))
        if len(call.node.input) > 3 or (activation == "Clip" or len(numbers) > len(names)):
            return None
        first = make("Conv", call.node.input, ["%y"], **_kept(call, *_CONV))
    else:
        for name in ("alpha", "beta"):
            if f"activation_{name}" in call.attributes:
                options[name] = call.attributes[f"activation_{name}"]
        kept = _kept(call, "alpha", "beta", "transA", "transB")
        first = make("Gemm", call.node.input, ["%y"], **kept)
    if activation not in ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"):
        return None
    return [first, make(activation, ["%y"], [call.node.output[0]], **options)]


def _skipping_norm(run: Run, call: Call, make: Make) -> Nodes | None:
    """A sum, and its norm."""
    simple = call.kind == "SkipSimplifiedLayerNormalization"
    x, skip, gamma, *rest = call.node.input
    beta = rest[0] if rest and not simple else ""
    bias = rest[0 if simple else 1] if len(rest) > (0 if simple else 1) else ""
    if any(call.node.output[1:3]):
        return None
    nodes = [make("Add", [x, skip], ["%sum"])]
    if bias:
        nodes.append(make("Add", ["%sum", bias], ["%whole"]))
    total = "%whole" if bias else "%sum"
    options = {"axis": -1, "epsilon": float(call.attributes.get("epsilon", 1e-12))}
    kind = "SimplifiedLayerNormalization" if simple else "LayerNormalization"
    nodes.append(make(kind, [total, gamma] + [beta] * bool(beta), [call.node.output[0]], **options))
    if len(call.node.output) > 3 and call.node.output[3]:
        nodes.append(make("Identity", [total], [call.node.output[3]]))
    return nodes


def _biased_gelu(run: Run, call: Call, make: Make) -> Nodes | None:
    if not call.has(1):
        return None
    kind = "Gelu" if call.kind == "BiasGelu" else "FastGelu"
    return [
        make("Add", call.node.input, ["%sum"]),
        make(kind, ["%sum"], call.node.output, domain="com.microsoft"),
    ]


def _mean(run: Run, call: Call, make: Make) -> Nodes:
    return [
        make("Sum", call.node.input, ["%sum"]),
        *_times(run, make, "%sum", 1.0 / len(call.node.input), call.node.output[0],
                call.value(0).dtype),
    ]  # fmt: skip


#: Each returns the nodes that do the same, or None if there are none.
REWRITES: dict[str, Callable[[Run, Call, Make], Nodes | None]] = {
    "Gemm": _gemm,
    "QLinearConv": _quantised_conv,
    "QLinearMatMul": _quantised_product,
    **dict.fromkeys(["MatMulInteger", "ConvInteger"], _integers),
    "FusedMatMul": _fused_product,
    **dict.fromkeys(["FusedConv", "FusedGemm"], _fused),
    **dict.fromkeys(["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"], _skipping_norm),
    **dict.fromkeys(["BiasGelu", "FastGelu"], _biased_gelu),
    "Mean": _mean,
    **RUNTIME,
}
