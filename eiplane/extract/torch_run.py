"""One run of a torch module, and what the calls in it mean.

Every torch function that the forward pass calls is seen by a ``TorchFunctionMode``, so it makes no
difference whether a layer is a module or a functional call, or in which order modules were
registered. What the calls mean is collected in a :class:`eiplane.extract.trace.Trace`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..network import Network
from ..results import Skipped
from .arrays import plain
from .torch_ops import (
    BOUNDED,
    CARRIES,
    ELEMENTWISE,
    HARMLESS,
    JOINS,
    KEEPS,
    MIXES,
    MOVES,
    MOVING_PROPERTIES,
    NOTES,
    SILENT,
)
from .trace import UNKNOWN, Convolution, Info, Trace

__all__ = ["Run"]

_Found = Info | list[Info] | None


class Run:
    """One run of a module, followed.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    """

    def __init__(self, torch: Any, module: Any) -> None:
        self._torch = torch
        self._trace = Trace()
        self.failure: Exception | None = None
        self._root = type(module).__name__.lower()
        self._infos = torch.utils.weak.WeakTensorKeyDictionary()
        self._aliases: dict[str, list[str]] = {}
        self._covered: set[str] = set()
        self._used: dict[str, set[str]] = {}
        self._tree = torch.utils._pytree
        embeddings = {
            f"{name}.weight".lstrip(".")
            for name, m in module.named_modules()
            if isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag)
        }
        self._weights: list[tuple[str, Any]] = []
        named = [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
        for part in module.modules():
            for value in vars(part).values():
                if isinstance(value, torch.Tensor):  # a constant that is not registered
                    self._infos[value] = Info(dynamic=False)
        by_id: dict[int, list[str]] = {}
        for name, value in named:
            by_id.setdefault(id(value), []).append(name)
        for name, value in named:
            names = by_id[id(value)]
            if names[0] != name:
                continue
            # A tied weight goes by the name of the module that multiplies with it.
            best = next((n for n in names if n not in embeddings), names[0])
            self._infos[value] = Info(dynamic=False, names=frozenset([best]))
            self._aliases[best] = names
            if isinstance(value, torch.nn.Parameter) and value.ndim >= 2:
                self._weights.append((best, value))

    def follow(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run the module and follow it."""
        torch, follow, run = self._torch, self._follow, self

        class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[name-defined,misc]
            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                kwargs = kwargs or {}
                out = func(*args, **kwargs)
                try:
                    follow(func, args, kwargs, out)
                except Exception as error:
                    run.failure = error
                    raise
                return out

        for value in self._tensors((args, kwargs)):
            self._infos[value] = UNKNOWN
        with Mode():
            out = module(*args, **kwargs)
        self._trace.mix([self._info(t) for t in self._tensors(out)], weak=True)

    def finish(self) -> tuple[Network | None, tuple[Skipped, ...]]:
        """Return the layers, and the weights that made none."""
        for name, value in self._weights:
            if name in self._covered:
                continue
            used = self._used.get(name)
            if used is None:
                reason = "no use of it was seen in the forward pass"
            elif used & set(NOTES):
                reason = NOTES[next(n for n in NOTES if n in used)]
            elif used <= HARMLESS:
                continue  # a position or a scale: no map from inputs to outputs
            else:
                strange = sorted(used - HARMLESS)[0]
                reason = f"a weight of shape {tuple(value.shape)} used by {strange}"
            self._trace.noted.setdefault(self._title(name), reason)
        return self._trace.network()

    # -- what is known of tensors

    def _tensors(self, value: Any) -> list[Any]:
        leaves, _ = self._tree.tree_flatten(value)
        return [leaf for leaf in leaves if isinstance(leaf, self._torch.Tensor)]

    def _info(self, tensor: Any) -> Info:
        # What no observed call has made (a TorchScript part has, say) may depend on anything.
        found = self._infos.get(tensor)
        return found if found is not None else UNKNOWN

    def _set(self, out: Any, info: Any) -> None:
        if isinstance(out, self._torch.Tensor):
            self._infos[out] = info
        elif isinstance(info, list):
            for tensor, one in zip(out, info, strict=True):
                if tensor is not None:
                    self._set(tensor, one)
        else:
            for tensor in self._tensors(out):
                self._infos[tensor] = info

    def _title(self, name: str) -> str:
        if name == "weight":
            return self._root
        return re.sub(r"(\.|_)weight$", "", name)

    def _name(self, names: frozenset[str]) -> str:
        """Return a layer's name from the parameters that its weight is made of."""
        if len(names) == 1:
            return self._title(next(iter(names)))
        # A weight computed of several, as by weight_norm or a parametrization: their module's name.
        split = [name.split(".") for name in sorted(names)]
        common = []
        for pieces in zip(*split, strict=False):
            if len(set(pieces)) > 1:
                break
            common.append(pieces[0])
        text = ".".join(common).removesuffix(".parametrizations.weight")
        text = text.removesuffix("parametrizations.weight")
        return text or self._root

    # -- what functions mean

    def _follow(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        name = getattr(func, "__name__", str(func))
        tensors = self._tensors((args, kwargs))
        infos = [self._info(t) for t in tensors]
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", name)
            if name in MOVING_PROPERTIES:
                name = "__get__"
            else:
                return
        elif not name.startswith("__"):
            name = name if name in KEEPS else name.removesuffix("_").removeprefix("special_")
        dynamic = [i for i in infos if i.dynamic]
        if not dynamic:
            made = Info(dynamic=False, names=frozenset().union(*(i.names for i in infos)))
            for tensor in self._tensors(out):
                if not any(tensor is t for t in tensors):
                    self._infos[tensor] = made
            if name in _LINEAR:
                self._static(tensors)
            elif name in NOTES:
                self._mark(infos, name)
            return
        self._mark(infos, name)
        result: Any
        if name in SILENT:
            result = UNKNOWN
        elif name in _HANDLERS and (result := _HANDLERS[name](self, args, kwargs, out)) is not None:
            pass
        elif name in KEEPS:
            result = infos[0]
        elif name in MOVES or name in JOINS or name == "__get__":
            result = self._moved(func, args, kwargs, tensors, infos, out)
        elif name in ELEMENTWISE:
            result = self._elementwise(name, func, args, kwargs, tensors, infos, out)
        elif name in CARRIES:
            result = self._trace.carry(dynamic)
        elif name in MIXES:
            result = self._trace.mix(dynamic)
        else:
            result = self._trace.mix(
                dynamic, f"its output goes to {name}, which eiplane does not know"
            )
        if not any(i.parts for i in dynamic) and name in BOUNDED:
            result = Info(bounds=BOUNDED[name])
        if name.startswith("__set") or (out is None and tensors):
            self._set(tensors[0], result)
        self._set(out, result)

    def _mark(self, infos: list[Info], name: str) -> None:
        """Note what uses the parameters among some tensors."""
        for info in infos:
            for n in info.names:
                self._used.setdefault(n, set()).add(name)

    def _static(self, tensors: list[Any]) -> None:
        """Note the weights of a linear map of something that is always the same."""
        for tensor in tensors:
            if tensor.ndim >= 2:
                self._note(
                    self._info(tensor).names, "its input does not depend on the network's input"
                )

    def _replaced(
        self, args: Any, kwargs: Any, values: dict[int, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with other tensors in the place of some (by id)."""
        leaves, spec = self._tree.tree_flatten((args, kwargs))
        leaves = [values.get(id(leaf), leaf) for leaf in leaves]
        made: tuple[tuple[Any, ...], dict[str, Any]] = self._tree.tree_unflatten(leaves, spec)
        return made

    def _moved(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Any], infos: list[Info], out: Any
    ) -> Any:
        torch = self._torch
        moved = [(t, i) for t, i in zip(tensors, infos, strict=True)
                 if t.is_floating_point() or i.parts]  # fmt: skip
        if not any(i.parts for _, i in moved):
            bounds = moved[0][1].bounds if moved else None
            return Info(bounds=bounds)

        def apply(codes: list[Any]) -> Any:
            values = {}
            for (tensor, info), code in zip(moved, codes, strict=True):
                if info.parts and code is None:
                    return out if isinstance(out, torch.Tensor) else list(out)
                values[id(tensor)] = (
                    torch.full(tuple(tensor.shape), -1) if code is None else torch.from_numpy(code)
                )
            others = {id(t): t.cpu() for t in tensors if id(t) not in values}
            new_args, new_kwargs = self._replaced(args, kwargs, values | others)
            result = func(*new_args, **new_kwargs)
            if isinstance(result, torch.Tensor):
                return result.numpy()
            return [r.numpy() for r in result]

        try:
            return self._trace.move([i for _, i in moved], apply)
        except Exception:
            # An operand or an option that arrays of integers do not take.
            return self._trace.mix([i for _, i in moved])

    def _elementwise(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: Any,
        tensors: list[Any],
        infos: list[Info],
        out: Any,
    ) -> Info:
        torch = self._torch
        kwargs = {k: v for k, v in kwargs.items() if k != "out"}
        operands, constants, wide = [], {}, []
        for tensor, info in zip(tensors, infos, strict=True):
            if info.dynamic:
                operands.append((tensor, info))
            elif tensor.numel() == 1:
                value = tensor.detach().cpu().reshape(())
                constants[id(tensor)] = value.double() if value.is_floating_point() else value
            elif name == "prelu" and bool((tensor == tensor.reshape(-1)[0]).all()):
                constants[id(tensor)] = tensor.detach().cpu().reshape(-1)[:1].double()
            else:
                wide.append(tensor)
        dynamic = [i for _, i in operands]
        if name == "prelu" and not wide:
            constants = {k: v.reshape(1) for k, v in constants.items()}
        if wide:
            if name == "prelu":
                return self._trace.mix(dynamic, "its PReLU has another slope for each channel")
            shifted = None
            if name in ("add", "__add__", "__radd__", "__iadd__") and len(tensors) == 2:
                constant = torch.broadcast_to(wide[0].detach().cpu().double(), out.shape)
                if dynamic[0].codes is not None and dynamic[0].codes.shape == tuple(out.shape):
                    shifted = self._trace.shift(dynamic[0], constant.numpy())
            return shifted if shifted is not None else self._trace.mix(dynamic)

        def apply(probes: list[Any]) -> Any:
            values = {
                id(tensor): torch.from_numpy(probe)
                for (tensor, _), probe in zip(operands, probes, strict=True)
            }
            new_args, new_kwargs = self._replaced(args, kwargs, values | constants)
            return func(*new_args, **new_kwargs).numpy()

        return self._trace.elementwise(name, dynamic, apply, tuple(out.shape))

    def _linear(
        self,
        weight: Any,
        bias: Any,
        x: Any,
        out: Any,
        transposed: bool = False,
        conv: Convolution | None = None,
        axis: int = -1,
    ) -> Info | None:
        """Report a linear map if its weight is a constant; otherwise None."""
        info = self._info(weight)
        biased = bias is not None and self._torch.is_tensor(bias)
        if info.dynamic or not info.names or not self._info(x).dynamic:
            return None
        if biased and self._info(bias).dynamic:
            return None
        if weight.is_complex():
            self._note(info.names, "a complex weight")
            return None
        self._covered |= info.names
        values = weight.detach()
        key = (tuple(sorted(info.names)), id(bias) if biased else None, tuple(values.shape))
        name = self._name(info.names)
        return self._trace.linear(
            name,
            key,
            values.t() if transposed else values,
            bias.detach() if biased else None,
            self._info(x),
            tuple(out.shape),
            axis,
            axis,
            conv,
        )

    def _note(self, names: frozenset[str], reason: str) -> None:
        for n in names:
            self._trace.noted.setdefault(self._title(n), reason)
            self._covered.add(n)

    # -- kinds of calls

    def _f_linear(self, args: Any, kwargs: Any, out: Any) -> _Found:
        x, weight, bias = _bound(args, kwargs, "input", "weight", "bias")
        if weight.ndim != 2:
            return None
        return self._linear(weight, bias, x, out)

    def _f_conv(self, args: Any, kwargs: Any, out: Any) -> _Found:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        x, weight, bias, stride, _, dilation, groups = _bound(args, kwargs, *names)
        axes = weight.ndim - 2
        conv = Convolution(_tuple(stride, axes), _tuple(dilation, axes), int(groups or 1))
        return self._linear(weight, bias, x, out, conv=conv, axis=-(axes + 1))

    def _f_matmul(self, args: Any, kwargs: Any, out: Any) -> _Found:
        a, b = _bound(args, kwargs, "input", "other")
        if "mat2" in kwargs:
            b = kwargs["mat2"]
        return self._product(a, b, None, out)

    def _f_rmatmul(self, args: Any, kwargs: Any, out: Any) -> _Found:
        b, a = _bound(args, kwargs, "input", "other")
        return self._product(a, b, None, out)

    def _product(self, a: Any, b: Any, bias: Any, out: Any) -> Info | None:
        if not self._torch.is_tensor(a) or not self._torch.is_tensor(b):
            return None
        if b.ndim == 2 and not self._info(b).dynamic and a.ndim >= 1:
            return self._linear(b, bias, a, out, transposed=True)
        if a.ndim == 2 and not self._info(a).dynamic and bias is None:
            return self._linear(a, None, b, out, axis=-1 if b.ndim == 1 else -2)
        for tensor in (a, b):
            if not self._info(tensor).dynamic and tensor.ndim > 2:
                self._note(self._info(tensor).names, "a stack of matrices, multiplied in one go")
        return None

    def _f_addmm(self, args: Any, kwargs: Any, out: Any) -> _Found:
        bias, a, b = _bound(args, kwargs, "input", "mat1", "mat2")
        if any(kwargs.get(k, 1) != 1 for k in ("beta", "alpha")) or bias.ndim != 1:
            return None
        return self._product(a, b, bias, out)

    def _f_batch_norm(self, args: Any, kwargs: Any, out: Any) -> _Found:
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
        x, mean, var, weight, bias, training, _ = _bound(args, kwargs, *names)
        info = self._info(x)
        if training or mean is None or var is None:
            return self._trace.mix([info])
        eps = kwargs.get("eps", args[7] if len(args) > 7 else 1e-5)
        scale = 1.0 / np.sqrt(plain(var).astype(np.float64) + float(eps))
        if weight is not None:
            scale = scale * plain(weight).astype(np.float64)
        shift = -plain(mean).astype(np.float64) * scale
        if bias is not None:
            shift = shift + plain(bias).astype(np.float64)
        return self._trace.normalise(info, scale, shift, 1)

    def _f_pool(self, name: str, args: Any, kwargs: Any, out: Any) -> _Found:
        x = args[0] if args else kwargs["input"]
        info = self._info(x)
        tensor = out if self._torch.is_tensor(out) else out[0]
        axes = int(next(c for c in name if c.isdigit()))
        kind = "max" if "max" in name else "mean"
        shape, size = tuple(tensor.shape), tuple(x.shape)[-axes:]
        if name.startswith("adaptive"):
            ratios = [n / m for n, m in zip(size, shape[-axes:], strict=True)]
            if any(r != int(r) for r in ratios):
                return self._trace.carry([info])
            window, dilation = tuple(int(r) for r in ratios), (1,) * axes
        else:
            position = {"kernel_size": 1, "stride": 2, "padding": 3}
            if kind == "max":
                position["dilation"] = 4
            values = {
                k: kwargs.get(k, args[i] if len(args) > i else None) for k, i in position.items()
            }
            window = _tuple(values["kernel_size"], axes)
            dilation = _tuple(values.get("dilation"), axes)
            if kwargs.get("divisor_override"):
                return self._trace.mix([info])
        made = self._trace.pool(info, kind, window, dilation, shape)
        return made if tensor is out else self._first_of(out, made)

    def _f_mean(self, args: Any, kwargs: Any, out: Any) -> _Found:
        x = args[0] if args else kwargs["input"]
        dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
        info = self._info(x)
        if dims is None:
            return None
        dims = sorted(d % x.ndim for d in ([dims] if isinstance(dims, int) else dims))
        axes = self._trace.spatial_axes(info)
        if not axes or dims != list(range(x.ndim - axes, x.ndim)):
            return None
        window = tuple(x.shape)[-len(dims) :]
        keep = out.ndim == x.ndim
        return self._trace.pool(info, "mean", window, (1,) * len(dims), tuple(out.shape), keep)

    def _f_attention(self, args: Any, kwargs: Any, out: Any) -> _Found:
        forward = self._torch.nn.functional.multi_head_attention_forward
        call = inspect.signature(forward).bind(*args, **kwargs)
        call.apply_defaults()
        a = call.arguments
        inputs = [self._info(a[n]) for n in ("query", "key", "value")]
        weights: list[tuple[str, Any]]
        if a["use_separate_proj_weight"]:
            packed = [a["q_proj_weight"], a["k_proj_weight"], a["v_proj_weight"]]
            weights = [(self._name(self._info(w).names), w) for w in packed]
        else:
            packed = [a["in_proj_weight"]] * 3
            base = self._name(self._info(packed[0]).names)
            thirds = packed[0].detach().chunk(3)
            weights = [(f"{base}.{n}", w) for n, w in zip("qkv", thirds, strict=True)]
        for whole in packed:
            self._covered |= self._info(whole).names
        biases = [None] * 3 if a["in_proj_bias"] is None else a["in_proj_bias"].detach().chunk(3)
        for (name, weight), bias, x in zip(weights, biases, inputs, strict=True):
            self._trace.gate(name, name, weight.detach(), bias, "identity", x)
        weight, bias = a["out_proj_weight"], a["out_proj_bias"]
        names = self._info(weight).names
        self._covered |= names
        made = self._trace.linear(
            self._name(names),
            (tuple(sorted(names)),),
            weight.detach(),
            None if bias is None else bias.detach(),
            UNKNOWN,
            tuple(out[0].shape),
        )
        return self._first_of(out, made)

    def _first_of(self, out: Any, info: Info) -> list[Info]:
        """Return what is known of a call's several results of which the first counts."""
        return [info, *(UNKNOWN for _ in out[1:])]

    def _f_rnn(self, name: str, args: Any, kwargs: Any, out: Any) -> _Found:
        is_weight = self._torch.is_tensor
        weights = next(a for a in args if isinstance(a, list | tuple) and len(a) > 1
                       and all(is_weight(w) and not self._info(w).dynamic for w in a)
                       and any(self._info(w).names for w in a))  # fmt: skip
        by_name = {}
        for weight in weights:
            names = self._info(weight).names
            if len(names) != 1:
                return self._trace.mix([self._info(args[0])])
            by_name[next(iter(names))] = weight
        hidden = (
            None if name == "rnn_relu" or any("weight_hr" in n for n in by_name) else (-1.0, 1.0)
        )
        for full, weight in by_name.items():
            head, _, last = full.rpartition(".")
            match = re.fullmatch(r"weight_(ih|hh|hr)_(l(\d+)(?:_reverse)?)", last)
            if match is None:
                continue
            self._covered.add(full)
            prefix = f"{head}." if head else ""
            if match[1] == "hr":
                # It takes o * tanh(c), which never leaves (-1, 1).
                self._trace.gate(full, full, weight.detach(), None, "identity", None, (-1.0, 1.0))
                continue
            biases = [by_name.get(f"{prefix}bias_{side}_{match[2]}") for side in ("ih", "hh")]
            first = match[1] == "ih" and match[3] == "0"
            x = self._info(args[0]) if first else None
            self._gates(name, full, weight, biases, match[1], x, None if first else hidden)
        # The last of an LSTM's results is its cell's state, which has no bounds.
        made = Info(bounds=hidden)
        return [made, made, UNKNOWN] if name == "lstm" else made

    def _f_cell(self, name: str, args: Any, kwargs: Any, out: Any) -> _Found:
        names = ("input", "hx", "w_ih", "w_hh", "b_ih", "b_hh")
        x, _, w_ih, w_hh, b_ih, b_hh = _bound(args, kwargs, *names)
        hidden = None if name.startswith("rnn_relu") else (-1.0, 1.0)
        for side, weight in (("ih", w_ih), ("hh", w_hh)):
            found = self._info(weight).names
            self._covered |= found
            if len(found) != 1:
                return None
            first = side == "ih"
            info = self._info(x) if first else None
            full = next(iter(found))
            self._gates(name, full, weight, [b_ih, b_hh], side, info, None if first else hidden)
        made = Info(bounds=hidden)
        return self._first_of(out, made) if name.startswith("lstm") else made

    def _gates(
        self,
        kind: str,
        full: str,
        weight: Any,
        biases: list[Any],
        side: str,
        x: Info | None,
        bounds: tuple[float, float] | None,
    ) -> None:
        """Report the blocks of a recurrent weight matrix, a layer for each gate.

        A gate adds up what comes from the input and what comes from the hidden state; each of the
        two matrices is taken with the other one's input at zero, so with the sum of both biases.
        The new state of a GRU multiplies what comes from the hidden state by the reset gate first:
        that block is a linear layer of its own, with its own bias.
        """
        family = kind.partition("_")[0]
        gates = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}[family]
        acts = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "r": "sigmoid",
                "z": "sigmoid", "n": "tanh"}  # fmt: skip
        plain_act = "relu" if kind.startswith("rnn_relu") else "tanh"
        blocks = weight.detach().chunk(len(gates)) if gates else [weight.detach()]
        parts: list[list[Any]] = [
            [None] * len(blocks) if b is None else list(b.detach().chunk(len(blocks)))
            for b in biases
        ]
        for k, block in enumerate(blocks):
            gate = gates[k] if gates else ""
            ih, hh = parts[0][k], parts[1][k]
            act = acts.get(gate, plain_act)
            if gate == "n":
                bias = ih if side == "ih" else hh
                act = act if side == "ih" else "identity"
            else:
                bias = ih if hh is None else (hh if ih is None else ih + hh)
            name = f"{full}.{gate}" if gate else full
            self._trace.gate(name, name, block, bias, act, x, bounds)


def _bound(args: Sequence[Any], kwargs: Mapping[str, Any], *names: str) -> list[Any]:
    """Return arguments by position or name, None where they were left out."""
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    if value is None:
        return (1,) * n
    if isinstance(value, int):
        return (value,) * n
    values = tuple(int(v) for v in value)
    return values * n if len(values) == 1 else values


_Handler = Callable[[Run, Any, Any, Any], _Found]


def _named(method: Callable[[Run, str, Any, Any, Any], _Found], name: str) -> _Handler:
    return lambda run, args, kwargs, out: method(run, name, args, kwargs, out)


_HANDLERS: dict[str, _Handler] = {
    "linear": Run._f_linear,
    "matmul": Run._f_matmul,
    "__matmul__": Run._f_matmul,
    "mm": Run._f_matmul,
    "mv": Run._f_matmul,
    "bmm": Run._f_matmul,
    "__rmatmul__": Run._f_rmatmul,
    "addmm": Run._f_addmm,
    "batch_norm": Run._f_batch_norm,
    "mean": Run._f_mean,
    "multi_head_attention_forward": Run._f_attention,
    **{f"conv{n}d": Run._f_conv for n in (1, 2, 3)},
    **{
        name: _named(Run._f_pool, name)
        for n in (1, 2, 3)
        for name in (
            f"max_pool{n}d", f"max_pool{n}d_with_indices", f"avg_pool{n}d",
            f"adaptive_max_pool{n}d", f"adaptive_max_pool{n}d_with_indices",
            f"adaptive_avg_pool{n}d",
        )
    },
    **{name: _named(Run._f_rnn, name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{
        name: _named(Run._f_cell, name)
        for name in ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
    },
}  # fmt: skip
_LINEAR = frozenset(_HANDLERS) - {"batch_norm", "mean"}
