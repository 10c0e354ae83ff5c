"""Recurrent layers and cells of torch: gates, each a layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ...network import Known, RangeRule, Unknown
from ..flow import Codes
from ..flow.gates import gate
from ..flow.signals import Map
from .call import Call, tensors_in
from .recurrence import Cell, reproduces, reproduces_layer, reproduces_step

if TYPE_CHECKING:
    from .run import Run

__all__ = ["CELLS", "LAYERS", "RECURRENT", "gates"]

#: Functions that run a whole layer, or one step.
LAYERS = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])
CELLS = frozenset(["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"])

_GATES = {"lstm": "ifgo", "gru": "rzn", "rnn": ""}
_ACTIVATIONS = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid", "r": "sigmoid",
                "z": "sigmoid", "n": "tanh"}  # fmt: skip


def gates(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Report a recurrent layer or cell that was called by name."""
    is_tensor = run.torch.is_tensor
    given = [*args, *kwargs.values()]
    if name in LAYERS:
        weights = next(a for a in given if isinstance(a, list | tuple) and len(a) > 1
                       and all(is_tensor(w) and w.ndim <= 2 for w in a)
                       and any(run.constants.names(w) for w in a))  # fmt: skip
        hidden = None if name == "rnn_relu" else (-1.0, 1.0)
        named = {}
        for weight in weights:
            names = run.constants.names(weight)
            if len(names) == 1:
                named[next(iter(names))] = weight
        if any("weight_hr" in n for n in named):
            hidden = None
        cells = _layer(run, name, named, given[0], hidden)
        right = bool(cells) and reproduces(cells, given, out, _precision(run, given[0]))
        _judge(list(cells.values()), right)
    else:
        hidden = None if name.startswith("rnn_relu") else (-1.0, 1.0)
        places = ["input", "hx", "w_ih", "w_hh", "b_ih", "b_hh"]
        x, _, w_ih, w_hh, b_ih, b_hh = (
            args[k] if k < len(args) else kwargs.get(n) for k, n in enumerate(places)
        )
        cell = Cell()
        for side, weight in (("ih", w_ih), ("hh", w_hh)):
            found = run.constants.names(weight)
            run.covered |= found
            full = run.constants.name(found) if len(found) != 1 else next(iter(found))
            made = _blocks(run, name, full, weight, [b_ih, b_hh], side,
                           x if side == "ih" else None, hidden)  # fmt: skip
            setattr(cell, side, made)
        states = args[1] if len(args) > 1 else kwargs["hx"]
        _judge([cell], reproduces_step(cell, x, states, out, _precision(run, x)))
    _outputs(run, name, given, out, hidden)


def _precision(run: Run, x: Any) -> float:
    return float(run.torch.finfo(x.dtype).eps)


def _judge(cells: list[Cell], right: bool) -> None:
    """Note that gates do not give what was computed."""
    for made in () if right else (made for cell in cells for made in cell.maps):
        made.unproved = "its gates do not reproduce what the recurrent layer computed in the run"


def _outputs(run: Run, name: str, given: list[Any], out: Any, hidden: Any) -> None:
    """Give the results of a recurrent layer their codes."""
    operands = [run.operand(t) for t in tensors_in(run.torch, given) if run.dynamic(t)]

    def rule(_: list[RangeRule]) -> RangeRule:
        return Unknown() if hidden is None else Known(*hidden)

    results = tensors_in(run.torch, out)
    for k, tensor in enumerate(results):
        # The last of an LSTM's results is its cell's state, which has no bounds.
        state = name.startswith("lstm") and k == len(results) - 1
        run.put(
            tensor,
            run.flow.event(name, operands, tuple(tensor.shape),
                           (lambda _: Unknown()) if state else rule),
        )  # fmt: skip


def _layer(
    run: Run, name: str, named: dict[str, Any], x: Any, hidden: Any
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
            made = _gate(run, full, weight.detach(), None, "identity", None, (-1.0, 1.0))
            cell.hr = made
            continue
        biases = [named.get(f"{prefix}bias_{side}_{match[2]}") for side in ("ih", "hh")]
        first = match[1] == "ih" and match[3] == "0"
        bounds = None if first else hidden
        blocks = _blocks(run, name, full, weight, biases, match[1], x if first else None, bounds)
        setattr(cell, match[1], blocks)
    return cells


def _blocks(
    run: Run,
    kind: str,
    full: str,
    weight: Any,
    biases: list[Any],
    side: str,
    x: Any,
    bounds: tuple[float, float] | None,
) -> list[Map]:
    """Report the blocks of a recurrent weight matrix, a layer for each gate.

    A gate adds up what comes from the input and what comes from the hidden state; each of the
    two matrices is taken with the other one's input at zero, so with the sum of both biases.
    The new state of a GRU multiplies what comes from the hidden state by the reset gate first:
    that block is a linear layer of its own, with its own bias.
    """
    letters = _GATES[kind.partition("_")[0]]
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
        made.append(_gate(run, name, block, bias, activation, x, bounds))
    return made


def _gate(run: Run, name: str, weight: Any, bias: Any, activation: str, x: Any, bounds: Any) -> Map:
    operand = run.operand(x) if x is not None and run.dynamic(x) else None
    return gate(run.flow, name, weight, bias, activation, operand, bounds)


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
    cells = list(_layer(run, "lstm", named, x, (-1.0, 1.0)).values())
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
