"""Recurrent layers and cells of torch: gates, each a layer."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, RangeRule, Unknown
from ..flow import Codes, Operand
from ..flow.gates import gate
from ..flow.signals import Map
from .call import Call, numbers, tensors_in
from .recurrence import Cell, reproduces, reproduces_layer, reproduces_step

if TYPE_CHECKING:
    from .run import Run

__all__ = ["CELLS", "LAYERS", "RECURRENT", "gates", "has_scripted_recurrence"]

#: Functions that run a whole layer, or one step.
LAYERS = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])
CELLS = frozenset(["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"])

_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}
_ACTIVATIONS = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "r": "sigmoid",
                "z": "sigmoid", "n": "tanh"}  # fmt: skip


def has_scripted_recurrence(torch: Any, module: Any) -> bool:
    """Return whether a script has recurrent layers or cells, which call no function of torch.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    """
    scripts = (p for p in module.modules() if isinstance(p, torch.jit.ScriptModule))
    return any("weight_ih" in name for p in scripts for name, _ in p.named_parameters())


@dataclass(eq=False)
class _Fed:
    """What a gate takes: a signal, numbers within bounds, or both.

    Parameters
    ----------
    x : Operand or None
    bounds : tuple of float or None
    """

    x: Operand | None
    bounds: tuple[float, float] | None


@dataclass(eq=False)
class _States:
    """Where the hidden states of a recurrent layer lie.

    Parameters
    ----------
    first : tensor or None
        What they begin with, where that is a signal that may lie outside of the bounds.
    back : _Fed
        What the gates take from one step to the next.
    given : _Fed
        What comes out, and what a layer above takes.
    """

    first: Any
    back: _Fed
    given: _Fed


def _states(run: Run, name: str, hx: Any, projected: bool = False) -> _States:
    """Return where hidden states lie: between -1 and 1, and where the first one does.

    A GRU's new state is a mean of the last one and of a tanh, so it may stay where it began; the
    others forget that in one step.
    """
    start = hx[0] if isinstance(hx, list | tuple) else hx
    if name.startswith("rnn_relu") or projected:
        return _States(None, _Fed(None, None), _Fed(None, None))
    first, low, high = None, -1.0, 1.0
    if not run.dynamic(start):
        found = numbers(start)
        low, high = min(low, float(found.min())), max(high, float(found.max()))
    else:
        codes = run.operand(start).codes
        assert codes is not None
        origins = run.flow.signals.origins_in(codes)
        inside = bool((codes >= 0).all()) and all(o.traits.get("state") for o in origins)
        first = None if inside else start
    back = _Fed(None if first is None else run.operand(first), (low, high))
    if name.startswith("gru"):
        return _States(first, back, back)
    return _States(None, back, _Fed(None, (-1.0, 1.0)))


def gates(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Report a recurrent layer or cell that was called by name."""
    is_tensor = run.torch.is_tensor
    given = [*args, *kwargs.values()]
    if name in LAYERS:
        weights = next(a for a in given if isinstance(a, list | tuple) and len(a) > 1
                       and all(is_tensor(w) and w.ndim <= 2 for w in a)
                       and any(run.constants.names(w) for w in a))  # fmt: skip
        named = {}
        for weight in weights:
            names = run.constants.names(weight)
            if len(names) == 1:
                named[next(iter(names))] = weight
        hx = given[2] if isinstance(given[3], list | tuple) else given[1]
        states = _states(run, name, hx, any("weight_hr" in n for n in named))
        cells = _layer(run, name, named, _taken(run, given[0]), states)
        right = bool(cells) and reproduces(cells, given, out, _precision(run, given[0]))
        _judge(list(cells.values()), right)
    else:
        places = ["input", "hx", "w_ih", "w_hh", "b_ih", "b_hh"]
        x, hx, w_ih, w_hh, b_ih, b_hh = (
            args[k] if k < len(args) else kwargs.get(n) for k, n in enumerate(places)
        )
        cell, states = Cell(), _states(run, name, hx)
        for side, weight in (("ih", w_ih), ("hh", w_hh)):
            found = run.constants.names(weight)
            run.covered |= found
            full = run.constants.name(found) if len(found) != 1 else next(iter(found))
            fed = _taken(run, x) if side == "ih" else states.back
            setattr(cell, side, _blocks(run, name, full, weight, [b_ih, b_hh], side, fed))
        _judge([cell], reproduces_step(cell, x, hx, out, _precision(run, x)))
    _outputs(run, name, given, out, states)


def _taken(run: Run, x: Any) -> _Fed:
    return _Fed(run.operand(x) if run.dynamic(x) else None, None)


def _bytes(tensor: Any) -> bytes:
    return np.ascontiguousarray(numbers(tensor)).tobytes()


def _precision(run: Run, x: Any) -> float:
    return float(run.torch.finfo(x.dtype).eps)


def _judge(cells: list[Cell], right: bool) -> None:
    """Note that gates do not give what was computed."""
    for made in () if right else (made for cell in cells for made in cell.maps):
        made.unproved = "its gates do not reproduce what the recurrent layer computed in the run"


def _outputs(run: Run, name: str, given: list[Any], out: Any, states: _States) -> None:
    """Give the results of a recurrent layer their codes."""
    signals = [t for t in tensors_in(run.torch, given) if run.dynamic(t)]
    bounds = states.given.bounds

    def rule(rules: list[RangeRule]) -> RangeRule:
        known = Unknown() if bounds is None else Known(*bounds)
        if states.first is None:
            return known
        return Join(operands=(known, next(r for r, t in zip(rules, signals, strict=True)
                                          if t is states.first)))  # fmt: skip

    bounded = bounds == (-1.0, 1.0) and states.first is None
    results = tensors_in(run.torch, out)
    for k, tensor in enumerate(results):
        # The last of an LSTM's results is its cell's state, which has no bounds.
        cell = name.startswith("lstm") and k == len(results) - 1
        run.put(
            tensor,
            run.flow.event(name, [run.operand(t) for t in signals], tuple(tensor.shape),
                           (lambda _: Unknown()) if cell else rule,
                           traits={"state": bounded and not cell, "recurrent": True}),
        )  # fmt: skip


def _layer(
    run: Run, name: str, named: dict[str, Any], x: _Fed, states: _States
) -> dict[tuple[int, int], Cell]:
    cells: dict[tuple[int, int], Cell] = {}
    for full, weight in named.items():
        head, _, last = full.rpartition(".")
        match = re.fullmatch(r"weight_(ih|hh|hr)_(l(\d+)(?:_reverse)?)", last)
        if match is None:
            continue
        run.covered.add(full)
        cell = cells.setdefault((int(match[3]), int("reverse" in match[2])), Cell())
        prefix = f"{head}." if head else ""
        if match[1] == "hr":
            # It takes o * tanh(c), which never leaves (-1, 1).
            made = gate(run.flow, full, weight.detach(), None, "identity", None, (-1.0, 1.0), "")
            cell.hr = made
            continue
        biases = [named.get(f"{prefix}bias_{side}_{match[2]}") for side in ("ih", "hh")]
        fed = states.back if match[1] == "hh" else x if match[3] == "0" else states.given
        blocks = _blocks(run, name, full, weight, biases, match[1], fed)
        setattr(cell, match[1], blocks)
    return cells


def _blocks(
    run: Run,
    kind: str,
    full: str,
    weight: Any,
    biases: list[Any],
    side: str,
    fed: _Fed,
) -> list[Map]:
    """Report the blocks of a recurrent weight matrix, a layer for each gate.

    A gate adds up what comes from the input and what comes from the hidden state; each of the
    two matrices is taken with the other one's input at zero, so with the sum of both biases.
    The new state of a GRU multiplies what comes from the hidden state by the reset gate first:
    that block is a linear layer of its own, with its own bias.
    """
    letters = _GATES[kind.partition("_")[0]]
    named = len(run.constants.names(weight)) == 1  # or the name is that of several weights
    key = "" if named else hashlib.blake2b(_bytes(weight)).digest()
    plain = "relu" if kind.startswith("rnn_relu") else "tanh"
    blocks = weight.detach().chunk(len(letters)) if letters else [weight.detach()]
    parts: list[list[Any]] = [
        [None] * len(blocks) if b is None else list(b.detach().chunk(len(blocks))) for b in biases
    ]
    made = []
    for k, block in enumerate(blocks):
        letter = letters[k] if letters else ""
        ih, hh = parts[0][k], parts[1][k]
        activation = _ACTIVATIONS.get(letter, plain)
        if letter == "n":
            bias = ih if side == "ih" else hh
            activation = activation if side == "ih" else "identity"
        else:
            bias = ih if hh is None else (hh if ih is None else ih + hh)
        name = f"{full}.{letter}" if letter else full
        made.append(gate(run.flow, name, block, bias, activation, fed.x, fed.bounds, key))
    return made


#: What torch's fused layer calls an LSTM.
_LSTM = 2


def _fused_layer(run: Run, call: Call) -> Any:
    """One direction of one layer, as compiled code runs it."""
    x, *weights = call.args[:5]
    named = {}
    for weight in weights:
        names = run.constants.names(weight)
        if len(names) == 1:
            named[next(iter(names))] = weight
    if int(call.args[9]) != _LSTM or not any("weight_" in n for n in named):
        return NotImplemented
    states = _states(run, "lstm", call.args[5])
    cells = list(_layer(run, "lstm", named, _taken(run, x), states).values())
    right = len(cells) == 1 and reproduces_layer(cells[0], call.args, call.out, _precision(run, x))
    _judge(cells, right)
    operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
    made: list[Codes | None] = []
    for k, tensor in enumerate(call.outs):
        # The cell's state has no bounds, and what comes last is none of the results.
        rule = (lambda _: Known(-1.0, 1.0)) if k < 2 else (lambda _: Unknown())
        made.append(
            None if tensor is None else run.flow.event("lstm", operands, tuple(tensor.shape), rule)
        )
    return made


RECURRENT = {"mkldnn_rnn_layer": _fused_layer}
