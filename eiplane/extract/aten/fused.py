"""Operators that stand for several: fused paths of torch, and those of lists of tensors."""

from __future__ import annotations

from typing import Any

__all__ = ["is_fused", "unfused"]

#: Operators that stand for a whole block.
_FUSED = frozenset(["_transformer_encoder_layer_fwd", "_native_multi_head_attention"])

#: What those are called that do the same to each tensor of a list.
_EACH = "_foreach_"


def is_fused(name: str) -> bool:
    """Return whether an operator may stand for several."""
    return name in _FUSED or name.startswith(_EACH)


def unfused(torch: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a fused operator returns, computed by its parts.

    Parameters
    ----------
    torch : module
    name : str
    args, kwargs
        Of the operator.

    Returns
    -------
    object
        NotImplemented where it has a mask, or is of several tensors that differ.
    """
    if name.startswith(_EACH):
        return _each(torch, name.removeprefix(_EACH), args, kwargs)
    if name == "_transformer_encoder_layer_fwd":
        if (len(args) > 18 and args[18] is not None) or kwargs.get("mask") is not None:
            return NotImplemented
        return _encoder_layer(torch, *args[:18])
    query, key, value, width, heads, *weights = args[:9]
    mask = args[9] if len(args) > 9 else kwargs.get("mask")
    if mask is not None or query is not key or key is not value or query.is_nested:
        return NotImplemented
    out, shares = _attention(torch, query, int(width), int(heads), *weights)
    needed = args[10] if len(args) > 10 else kwargs.get("need_weights", True)
    mean = args[11] if len(args) > 11 else kwargs.get("average_attn_weights", True)
    if not needed:
        return out, torch.empty(0, dtype=out.dtype)
    return out, shares.mean(dim=1) if mean else shares


def _each(torch: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do to each tensor of a list what is done to all of them."""
    base, tensor = name.rstrip("_"), torch.Tensor
    # The list stands second where a number is raised to the power of each.
    count = len(next(value for value in args if isinstance(value, list | tuple)))
    if base in ("copy", "zero"):
        function: Any = getattr(tensor, f"{base}_")
    elif base == "norm":
        function = torch.linalg.vector_norm
    else:
        function = getattr(torch, base, None)
    if function is None or "out" in kwargs:
        return NotImplemented

    def one(value: Any, k: int) -> Any:
        if base.startswith("addc") and isinstance(value, tensor):
            return value[k]  # numbers in a tensor
        return value[k] if isinstance(value, list | tuple) and len(value) == count else value

    made = []
    for k in range(count):
        x = one(args[0], k)
        given = [one(value, k) for value in args[1:]]
        named = {n: one(value, k) for n, value in kwargs.items()}
        made.append(_one(torch, base, function, x, given, named))
        if name.endswith("_") and base not in ("copy", "zero"):
            x.copy_(made[-1])
    return None if name.endswith("_") else made


def _one(
    torch: Any, base: str, function: Any, x: Any, given: list[Any], named: dict[str, Any]
) -> Any:
    """Do to one tensor what is done to each, where numbers are given in a way of their own, too."""
    if base in ("minimum", "maximum") and not isinstance(given[0], torch.Tensor):
        function = torch.clamp_max if base == "minimum" else torch.clamp_min
    if base in ("addcmul", "addcdiv") and len(given) > 2:
        value = given.pop()
        if isinstance(value, torch.Tensor):
            first, second = given
            return x + value * (first * second if base == "addcmul" else first / second)
        named = {**named, "value": value}
    return function(x, *given, **named)


def _attention(
    torch: Any, x: Any, width: int, heads: int, qkv: Any, qkv_bias: Any, proj: Any, proj_bias: Any
) -> tuple[Any, Any]:
    functional = torch.nn.functional
    batch, length, _ = x.shape
    parts = functional.linear(x, qkv, qkv_bias).chunk(3, dim=-1)
    q, k, v = (p.reshape(batch, length, heads, -1).transpose(1, 2) for p in parts)
    scores = torch.matmul(q, k.transpose(-2, -1)) / (width // heads) ** 0.5
    shares = torch.softmax(scores, dim=-1)
    mixed = torch.matmul(shares, v).transpose(1, 2).reshape(batch, length, width)
    return functional.linear(mixed, proj, proj_bias), shares


def _encoder_layer(
    torch: Any, x: Any, width: int, heads: int, qkv: Any, qkv_bias: Any, proj: Any, proj_bias: Any,
    gelu: bool, norm_first: bool, eps: float, *rest: Any,
) -> Any:  # fmt: skip
    scale1, shift1, scale2, shift2, up, up_bias, down, down_bias = rest
    functional = torch.nn.functional
    if x.is_nested:
        return NotImplemented

    def norm(h: Any, scale: Any, shift: Any) -> Any:
        return functional.layer_norm(h, (int(width),), scale, shift, float(eps))

    def attention(h: Any) -> Any:
        return _attention(torch, h, int(width), int(heads), qkv, qkv_bias, proj, proj_bias)[0]

    def dense(h: Any) -> Any:
        h = functional.linear(h, up, up_bias)
        h = functional.gelu(h) if gelu else functional.relu(h)
        return functional.linear(h, down, down_bias)

    if norm_first:
        x = x + attention(norm(x, scale1, shift1))
        return x + dense(norm(x, scale2, shift2))
    x = norm(x + attention(x), scale1, shift1)
    return norm(x + dense(x), scale2, shift2)
