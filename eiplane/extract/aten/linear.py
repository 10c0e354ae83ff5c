"""Linear maps of torch: whatever ends in a matrix product or a convolution with a constant."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Pairwise, RangeRule, Scaled, Unknown
from ..flow import Codes, Convolution, Operand
from ..flow.choices import decided
from ..flow.combined import product
from ..flow.patches import keep_fields, keep_phases, keep_rows
from ..flow.pointwise import pointwise
from ..flow.signals import Map
from .call import AtenOperator, Call, Slot, numbers
from .elementwise import step_maker

if TYPE_CHECKING:
    from .run import Run

__all__ = ["LINEAR", "Product", "distinct", "report"]

#: Matrices in a stack that become layers of their own, at most.
_MOST = 4096

_RANDOM = "its weight is drawn at random in the forward pass"


@dataclass(eq=False)
class Product:
    """One matrix product with a constant.

    Parameters
    ----------
    weight : tensor, shape (n_out, n_in)
    bias : tensor, shape (n_out,), or None
    x : Operand
        Of shape (places, n_in) or (n_in, places); or (n_in,).
    out : tensor
        Likewise.
    axis : int
        Of the features in both, from the end.
    named : frozenset of str
    suffix : str
        Of the name, for one of several matrices.
    kind : str
        What tells the matrix from others of those names.
    source : tensor or None
        What a weight was written down from.
    """

    weight: Any
    bias: Any
    x: Operand
    out: Any
    axis: int
    named: frozenset[str]
    suffix: str = ""
    kind: str = ""
    source: Any = None


def report(run: Run, p: Product) -> Codes:
    """Report a matrix product."""
    constants = run.constants
    run.cover(p.named, p.weight if p.source is None else p.source)
    sections = constants.sections(p.weight, p.named)
    place = None if constants.place(p.weight) is None else constants.place(p.weight)[1]
    biased = frozenset() if p.bias is None else constants.names(p.bias)
    key = (
        tuple(sorted(p.named)), place, tuple(p.weight.shape), p.suffix, tuple(sorted(biased)),
        p.kind, None if p.named else p.weight.data_ptr(),
    )  # fmt: skip
    made = Map(constants.name(p.named) + p.suffix, key, p.weight.detach(),
               None if p.bias is None else p.bias.detach(), sections=sections)  # fmt: skip
    made.still = run.maps_of_constants.follows
    run.flow.noted.pop(made.name, None)
    made.straight = run.flow.signals.straight(p.x.codes, p.axis)
    shape = tuple(p.out.shape)
    axis = len(shape) + p.axis if shape else 0
    out = Operand(None, lambda: numbers(p.out))
    if p.weight.is_complex():
        run.note(p.named, "a complex weight")
        return run.flow.event("a complex map", [p.x], shape, lambda _: Unknown())
    _keep_patches(run, made, p)
    return run.flow.map(made, p.x, out, shape, axis)


def _keep_patches(run: Run, made: Map, p: Product) -> None:
    x, out = np.asarray(p.x.read()), numbers(p.out)
    if x.ndim == 1:
        x, out = x[None], out[None]
    elif p.axis == -2:
        x, out = x.T, out.T
    keep_rows(made, x, out, _precision(run, p.out))


def _precision(run: Run, tensor: Any) -> float:
    return float(run.torch.finfo(tensor.dtype).eps) if tensor.is_floating_point() else 2.0**-23


# -- matrix products ----------------------------------------------------------------------------


def _mm(run: Run, call: Call) -> Any:
    return _matrices(run, call, call.args[0], call.args[1], None)


def _matrices(run: Run, call: Call, a: Any, b: Any, bias: Any) -> Any:
    """Return the codes of a product of two matrices."""
    if not call.dynamic(b):
        named = run.constants.names(b)
        return report(run, Product(b.t(), bias, call.operand(a), call.out, -1, named))
    if not call.dynamic(a) and bias is None:
        named = run.constants.names(a)
        return report(run, Product(a, None, call.operand(b), call.out, -2, named))
    return _both(run, call, a, b)


def _addmm(run: Run, call: Call) -> Any:
    base, a, b = call.args[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    width = int(call.out.shape[-1])
    fits = tuple(base.shape) in ((width,), (1, width)) and not call.dynamic(base)
    if fits and beta == alpha == 1 and not call.dynamic(b):
        return _matrices(run, call, a, b, base.reshape(-1))
    return _added(run, call, base, beta, alpha, lambda inner: _matrices(run, inner, a, b, None))


#: What is added to by these.
_PRODUCTS = {"addmm": "mm", "baddbmm": "bmm", "addmv": "mv"}


def _added(run: Run, call: Call, base: Any, beta: Any, alpha: Any, product: Any) -> Any:
    """Return the codes of ``beta * base + alpha * product``."""
    torch = run.torch
    rest = call.operand(base)
    # The product by itself, which the operator adds at once: cheaper than to take the sum apart.
    out = getattr(torch, _PRODUCTS[call.name])(*call.args[1:3]).to(call.out.dtype)
    inner = Call("mm", call.func, call.args, call.kwargs, [out], call.tensors, call.operands)
    codes = product(inner)
    if alpha == 1 and not beta:
        return codes
    precision = _precision(run, call.out)
    terms = [Operand(codes, lambda: numbers(out), precision)]
    if alpha != 1:
        scaled = out * float(alpha)
        terms = [Operand(pointwise(run.flow, "mul", terms, call.shape, step_maker(
            "mul", AtenOperator("mul", (Slot(0), float(alpha)), {}), False, True),
            lambda r: r[0]), lambda: numbers(scaled), precision)]  # fmt: skip
    if not beta:
        return terms[0].codes
    operator = AtenOperator("add", (Slot(0), Slot(1)), {"alpha": float(beta)})
    several = rest.codes is not None

    def rule(rules: list[RangeRule]) -> RangeRule:
        return Pairwise("add", operands=(rules[0], Scaled(float(beta), operands=(rules[1],))))

    return pointwise(run.flow, "add", [terms[0], rest], call.shape,
                     step_maker("add", operator, several, True), rule,
                     Operand(None, lambda: numbers(call.out)))  # fmt: skip


def _bmm(run: Run, call: Call) -> Any:
    return _stack(run, call, call.args[0], call.args[1])


def _baddbmm(run: Run, call: Call) -> Any:
    base, a, b = call.args[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    return _added(run, call, base, beta, alpha, lambda inner: _stack(run, inner, a, b))


def _stack(run: Run, call: Call, a: Any, b: Any) -> Any:
    """Return the codes of products of several pairs of matrices."""
    if call.dynamic(a) == call.dynamic(b):
        return _both(run, call, a, b)
    left = call.dynamic(b)  # the constant one stands on the left
    weight, x = (a, call.operand(b)) if left else (b.transpose(1, 2), call.operand(a))
    named, count = run.constants.names(weight), int(weight.shape[0])
    axis = -2 if left else -1
    if not count:  # an expert to which nothing went
        run.note(named, "no row was sent to it in the forward pass")
        return np.full(call.shape, -1, dtype=np.int64)
    if count == 1 or weight.stride(0) == 0:
        return _alike(run, call, weight[0], x, left, named)
    if count > _MOST:
        run.note(named, f"a stack of {count} matrices, multiplied in one go")
        return run.flow.event("matrices", [x], call.shape, lambda _: Unknown(),
                              unknown="it goes to a stack of matrices")  # fmt: skip
    made, place = [], [k for k, _ in distinct(map(numbers, weight))]
    for k in range(count):
        assert x.codes is not None
        part = Operand(x.codes[k], lambda k=k: x.read()[k], x.precision)  # type: ignore[misc]
        made.append(
            report(run, Product(weight[k], None, part, call.out[k], axis, named, f"[{place[k]}]"))
        )
    return np.stack(made)


def _grouped(run: Run, call: Call) -> Any:
    """Return the codes of products of groups of rows, each with a matrix of its own: experts."""
    a, b, *_ = call.tensors
    ends = call.given(2, "offs")
    plain = ends is not None and a.ndim == 2 and b.ndim == 3 and call.given(3, "bias") is None
    if not plain or call.dynamic(b) or not call.dynamic(a) or int(b.shape[0]) > _MOST:
        return NotImplemented
    x, named, start = call.operand(a), run.constants.names(b), 0
    assert x.codes is not None
    codes, title = np.full(call.shape, -1, dtype=np.int64), run.constants.name(named)
    run.covered |= named
    for k, end in enumerate(numbers(ends).tolist()):
        if end > start:
            rows = slice(start, end)
            part = Operand(x.codes[rows], lambda rows=rows: x.read()[rows], x.precision)  # type: ignore[misc]
            p = Product(b[k].t(), None, part, call.out[rows], -1, named, f"[{k}]")
            codes[rows] = report(run, p)
        elif all(o.map is None or o.map.name != f"{title}[{k}]" for o in run.flow.maps):
            run.flow.noted.setdefault(f"{title}[{k}]", "no row was sent to it in the forward pass")
        start = end
    decided(run.flow, [call.operand(ends)], codes)  # where rows go, perhaps by another signal
    return codes


def distinct(matrices: Iterable[NDArray[Any]]) -> list[tuple[int, str]]:
    """Return for each of some matrices which of the different ones it is, and what tells it."""
    numbered: dict[str, int] = {}
    found = []
    for matrix in matrices:
        digest = hashlib.blake2b(np.ascontiguousarray(matrix).tobytes(), digest_size=8).hexdigest()
        found.append((numbered.setdefault(digest, len(numbered)), digest))
    return found


def _alike(run: Run, call: Call, weight: Any, x: Operand, left: bool, named: Any) -> Codes:
    """Return the codes of one matrix's products with several."""
    assert x.codes is not None
    codes, shape = x.codes, call.shape
    if not left:
        flat = Operand(codes.reshape(-1, codes.shape[-1]),
                       lambda: x.read().reshape(-1, codes.shape[-1]), x.precision)  # fmt: skip
        out = call.out.reshape(-1, shape[-1])
        return report(run, Product(weight, None, flat, out, -1, named)).reshape(shape)
    turned = np.moveaxis(codes, 1, -1).reshape(-1, codes.shape[1])
    flat = Operand(turned, lambda: np.moveaxis(x.read(), 1, -1).reshape(turned.shape), x.precision)
    out = call.out.transpose(1, 2).reshape(-1, shape[1])
    made = report(run, Product(weight, None, flat, out, -1, named))
    return np.ascontiguousarray(np.moveaxis(made.reshape(shape[0], shape[2], shape[1]), -1, 1))


def _mv(run: Run, call: Call) -> Any:
    a, b = call.args[0], call.args[1]
    if not call.dynamic(a):
        return report(run, Product(a, None, call.operand(b), call.out, -1,
                                     run.constants.names(a)))  # fmt: skip
    if not call.dynamic(b):
        named = run.constants.names(b)
        out = call.out.reshape(-1, 1)
        x = call.operand(a)
        return report(run, Product(b[None], None, x, out, -1, named)).reshape(call.shape)
    return _both(run, call, a, b)


def _dot(run: Run, call: Call) -> Any:
    a, b = call.args[0], call.args[1]
    if call.dynamic(a) and call.dynamic(b):
        return _both(run, call, a, b)
    x, weight = (a, b) if call.dynamic(a) else (b, a)
    named, out = run.constants.names(weight), call.out.reshape(1)
    made = report(run, Product(weight[None], None, call.operand(x), out, -1, named))
    return made.reshape(())


def _addmv(run: Run, call: Call) -> Any:
    base, a, b = call.args[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)

    def product(inner: Call) -> Any:
        inner.args = (a, b)
        return _mv(run, inner)

    return _added(run, call, base, beta, alpha, product)


def _both(run: Run, call: Call, a: Any, b: Any) -> Codes:
    """Report a product of two signals: attention's, if one of them is made of shares."""
    _drawn(run, call, (a, b))
    width = int(a.shape[-1])
    return product(run.flow, call.name, call.operand(a), call.operand(b), width, call.shape)


def _drawn(run: Run, call: Call, factors: tuple[Any, ...]) -> None:
    """List a weight that is drawn at random, by the names of what it is made of."""
    for t in factors:
        if run.flow.is_noise(call.operand(t).codes):
            named = run.constants.names(t)
            run.note(named, _RANDOM)
            if not named:
                title = f"{run.constants.name(named)} ({call.name})"
                run.flow.noted.setdefault(title, _RANDOM)


# -- convolutions -------------------------------------------------------------------------------


def _convolution(run: Run, call: Call) -> Any:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = call.args[:9]
    if call.dynamic(weight) or not call.dynamic(x) or (bias is not None and call.dynamic(bias)):
        _drawn(run, call, (weight,))
        operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
        return run.flow.event("a product", operands, call.shape, lambda _: Unknown())
    axes = weight.ndim - 2
    sizes = [_tuple(v, axes) for v in (stride, padding, dilation)]
    conv = Convolution(sizes[0], sizes[2], int(groups), bool(transposed))
    named = run.constants.names(weight)
    run.cover(named, weight)
    key = (tuple(sorted(named)), tuple(weight.shape), conv, bias is None,
           None if named else weight.data_ptr())  # fmt: skip
    made = Map(run.constants.name(named), key, weight.detach(),
               None if bias is None else bias.detach(), conv)  # fmt: skip
    operand = call.operand(x)
    keep = keep_phases if transposed else keep_fields
    keep(made, np.asarray(operand.read()), numbers(call.out), sizes[1], _precision(run, call.out))
    edges = transposed or any(sizes[1])
    out = Operand(None, lambda: numbers(call.out))
    return run.flow.map(made, operand, out, call.shape, len(call.shape) - axes - 1, edges)


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in value)
    return values * n if len(values) == 1 else values


LINEAR: dict[str, Callable[[Run, Call], Any]] = {
    "mm": _mm,
    "addmm": _addmm,
    "bmm": _bmm,
    "baddbmm": _baddbmm,
    "_grouped_mm": _grouped,
    "transformers::grouped_mm_fallback": _grouped,
    "mv": _mv,
    "addmv": _addmv,
    "dot": _dot,
    "convolution": _convolution,
    "_convolution": _convolution,
}
