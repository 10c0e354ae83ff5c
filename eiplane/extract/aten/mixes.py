"""Operators that take a signal as it is: sums, orders, losses, look-ups, attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, Mapped, Pairwise, RangeRule, Scaled, Unknown
from ..flow import Codes, Operand
from ..flow.pointwise import pointwise
from ..tables import words
from .call import AtenOperator, Call, Slot, numbers
from .complexes import as_complex, as_real
from .elementwise import step_maker
from .pools import spatial_mean
from .stacked import over_copies

if TYPE_CHECKING:
    from .run import Run

__all__ = ["MIXES", "NOTES"]

#: What uses of weights that make no layers are called, and why.
NOTES = {
    "embedding": "an embedding: rows are looked up, nothing is multiplied",
    "embedding_bag": "an embedding: rows are looked up, nothing is multiplied",
    "embedding_renorm": "an embedding: rows are looked up, nothing is multiplied",
    "_embedding_bag_forward_only": "an embedding: rows are looked up, nothing is multiplied",
    "_embedding_bag": "an embedding: rows are looked up, nothing is multiplied",
    "scaled_dot_product_attention": "a learnt query, key or value of an attention",
    "_trilinear": "a bilinear map: its output is a product of two inputs",
    "native_layer_norm": "norm",
    "native_group_norm": "norm",
    "native_batch_norm": "norm",
    "cat": "move",
    "stack": "move",
    "index": "move",
    "index_select": "move",
    "gather": "move",
    "clone": "move",
    "copy": "move",
}


def _signals(call: Call) -> list[Operand]:
    return [call.operand(t) for t in call.tensors if call.dynamic(t)]


def _each(run: Run, call: Call, rule: Callable[[list[RangeRule]], RangeRule]) -> list[Codes | None]:
    """Report all results, of which the first has that range."""
    found: list[Codes | None] = []
    for k, tensor in enumerate(call.outs):
        if not isinstance(tensor, run.torch.Tensor):
            found.append(None)
            continue
        made = rule if k == 0 else (lambda _: Unknown())
        found.append(run.flow.event(call.name, _signals(call), tuple(tensor.shape), made))
    return found


def _used(run: Run, call: Call) -> Any:
    return _each(run, call, lambda _: Unknown())


def _count(call: Call) -> int:
    """Return how many entries make one of the result."""
    return max(1, int(call.args[0].numel()) // max(1, int(call.out.numel())))


def _sum(run: Run, call: Call) -> Any:
    size = _count(call)
    traits = {"sum_of": call.operand(call.args[0]).codes, "size": size}
    return run.flow.event("a sum", _signals(call), call.shape,
                          lambda r: Scaled(size, operands=(r[0],)), traits=traits)  # fmt: skip


def _mean(run: Run, call: Call) -> Any:
    found = spatial_mean(run, call, "mean")
    if found is not None:
        return found
    traits = {"mean_of": call.operand(call.args[0]).codes, "size": _count(call)}
    return run.flow.event("a mean", _signals(call), call.shape, lambda r: r[0], traits=traits)


def _extreme(run: Run, call: Call) -> Any:
    if call.name == "amax" and (found := spatial_mean(run, call, "max")) is not None:
        return found
    return _each(run, call, lambda r: r[0])


def _vector_norm(run: Run, call: Call) -> Any:
    order = call.given(1, "ord", 2)
    euclid = call.name == "linalg_vector_norm" or order is not None
    traits = {}
    if euclid and float(2 if order is None else order) == 2.0:
        traits = {"norm_of": call.operand(call.args[0]).codes, "size": _count(call)}
    power = float(2 if order is None else order)
    reach = _count(call) ** (1.0 / power) if power > 0 else math.inf

    def rule(r: list[RangeRule]) -> RangeRule:
        if not math.isfinite(reach):
            return Unknown()
        return Scaled(reach, operands=(Mapped(np.abs, operands=(Join(operands=(r[0],)),)),))

    return run.flow.event("a norm", _signals(call), call.shape, rule, traits=traits)


def _spread(call: Call, root: bool) -> Callable[[list[RangeRule]], RangeRule]:
    """Return what makes the range of a variance, or its root, of numbers between two ends."""
    size = _count(call)
    less = call.kwargs.get("correction")
    factor = size / max(1.0, size - float(1 if less is None else less))

    def rule(r: list[RangeRule]) -> RangeRule:
        whole = Join(operands=(r[0],))
        half = Scaled(0.5, operands=(Pairwise("sub", operands=(whole, whole)),))
        if root:
            return Scaled(math.sqrt(factor), operands=(Mapped(np.abs, operands=(half,)),))
        return Scaled(factor, operands=(Mapped(np.square, operands=(half,)),))

    return rule


def _log_sum(run: Run, call: Call) -> Any:
    more = math.log(_count(call))
    return _each(run, call, lambda r: Scaled(1.0, more, operands=(Join(operands=(r[0],)),)))


def _place(run: Run, call: Call) -> Any:
    """Where something stands."""
    dim = call.given(1, "dim")
    whole = call.args[0]
    size = whole.numel() if dim is None or not whole.ndim else whole.shape[int(dim)]
    return _each(run, call, lambda _: Known(0.0, float(max(1, size) - 1)))


def _variance(run: Run, call: Call) -> Any:
    root = call.name.startswith("std")
    traits = {"std_of" if root else "var_of": call.operand(call.args[0]).codes,
              "size": _count(call)}  # fmt: skip
    made: list[Codes | None] = [
        run.flow.event("a variance", _signals(call), call.shape, _spread(call, root), traits=traits)
    ]
    if len(call.outs) > 1:
        means = {"mean_of": call.operand(call.args[0]).codes, "size": _count(call)}
        made.append(run.flow.event("a mean", _signals(call), tuple(call.outs[1].shape),
                                   lambda r: r[0], traits=means))  # fmt: skip
    return made


def _cumulative(run: Run, call: Call) -> Any:
    x = call.args[0]
    size = int(x.shape[int(call.args[1])]) if x.ndim else 1

    def rule(r: list[RangeRule]) -> RangeRule:
        return Join(operands=(r[0], Scaled(size, operands=(r[0],))))

    return run.flow.event("a sum", _signals(call), call.shape, rule)


def _attention(run: Run, call: Call) -> Any:
    """A mixture of values, in shares: it stays in their range."""
    query, key, value = call.args[:3]
    rest = [t for t in call.tensors if all(t is not x for x in (query, key, value))]
    operands = [call.operand(t) for t in (value, query, key, *rest)]
    fixed = None if call.dynamic(value) else np.asarray(operands[0].read(), dtype=np.float64)

    def rule(rules: list[RangeRule]) -> RangeRule:
        return rules[0] if fixed is None else Known(fixed.min(), fixed.max())

    made: list[Codes | None] = []
    for k, tensor in enumerate(call.outs):
        known = rule if k == 0 else (lambda _: Unknown())
        is_tensor = isinstance(tensor, run.torch.Tensor)
        made.append(
            run.flow.event(call.name, operands, tuple(tensor.shape), known) if is_tensor else None
        )
    return made


def _glu(run: Run, call: Call) -> Any:
    """A half times the sigmoid of the other half."""
    torch, x = run.torch, call.operand(call.args[0])
    axis = int(call.given(1, "dim", -1))
    assert x.codes is not None
    size = x.codes.shape[axis] // 2
    codes = np.split(x.codes, 2, axis=axis)
    shown = call.args[0]
    halves = [
        Operand(c, lambda k=k: numbers(shown.narrow(axis, k * size, size)), x.precision)  # type: ignore[misc]
        for k, c in enumerate(codes)
    ]
    gate = torch.sigmoid(shown.narrow(axis, size, size))
    sigmoid = AtenOperator("sigmoid", (Slot(0),), {})
    half = pointwise(run.flow, "sigmoid", [halves[1]], call.shape,
                     step_maker("sigmoid", sigmoid, False, True), lambda r: r[0])  # fmt: skip
    second = Operand(half, lambda: numbers(gate), x.precision)
    product = AtenOperator("mul", (Slot(0), Slot(1)), {})
    return pointwise(run.flow, "mul", [halves[0], second], call.shape,
                     step_maker("mul", product, True, True),
                     lambda r: Pairwise("mul", operands=(r[0], r[1])))  # fmt: skip


def _rrelu(run: Run, call: Call) -> Any:
    if call.given(4, "training", False):
        return NotImplemented
    lower, upper = float(call.given(2, "lower", 1 / 8)), float(call.given(3, "upper", 1 / 3))
    operator = AtenOperator("leaky_relu", (Slot(0), 0.5 * (lower + upper)), {})
    x = call.operand(call.args[0])
    codes = pointwise(run.flow, "leaky_relu", [x], call.shape,
                      step_maker("leaky_relu", operator, False, True), lambda r: r[0])  # fmt: skip
    return [codes] * len(call.outs)


def _dropout(run: Run, call: Call) -> Any:
    if call.given(2, "train", False) and call.given(1, "p"):
        scale = 1.0 / max(1e-12, 1.0 - float(call.given(1, "p")))

        def rule(r: list[RangeRule]) -> RangeRule:
            return Join(True, operands=(Known(0.0, 0.0), Scaled(scale, operands=(r[0],))))

        return _each(run, call, rule)
    codes = call.operand(call.args[0]).codes
    return [None if codes is None else codes.copy(), *(None for _ in call.outs[1:])]


_PLAIN = words(
    """
    topk sort argsort kthvalue cumprod nll_loss_forward
    nll_loss2d_forward nll_loss mse_loss l1_loss smooth_l1_loss huber_loss
    binary_cross_entropy binary_cross_entropy_with_logits kl_div cosine_embedding_loss
    _cdist_forward _trilinear _pdist_forward linalg_cross multinomial bincount equal
    all any isclose median nanmedian mode histc aminmax _aminmax
    is_same_size one_hot _unique2 unique_dim unique_consecutive argwhere soft_margin_loss
    multi_margin_loss _ctc_loss _assert_async _assert_scalar allclose is_nonzero
    fft_fft _fft_r2c _fft_c2c _fft_c2r
    """
)

MIXES: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(_PLAIN, _used),
    "sum": partial(over_copies, otherwise=_sum),
    "nansum": _sum,
    "mean": partial(over_copies, otherwise=_mean),
    "nanmean": _mean,
    **dict.fromkeys(["amax", "amin", "max", "min"], partial(over_copies, otherwise=_extreme)),
    **dict.fromkeys(["topk", "sort", "kthvalue", "median", "nanmedian", "mode"],
                    partial(over_copies, otherwise=_extreme)),
    **dict.fromkeys(["aminmax", "_aminmax"], _extreme),
    "linalg_vector_norm": partial(over_copies, otherwise=_vector_norm),
    "norm": _vector_norm,
    "prod": partial(over_copies, otherwise=_used),
    "logsumexp": partial(over_copies, otherwise=_log_sum),
    **dict.fromkeys(["argmax", "argmin"], _place),
    **dict.fromkeys(["var", "std", "var_mean", "std_mean"], _variance),
    "cumsum": _cumulative,
    **dict.fromkeys(
        ["_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
         "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
         "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math",
         "scaled_dot_product_attention"],
        _attention,
    ),
    "view_as_complex": as_complex,
    "view_as_real": as_real,
    "glu": _glu,
    "rrelu_with_noise": _rrelu,
    "native_dropout": _dropout,
}  # fmt: skip
