"""LSTM, GRU and RNN nodes: gates, each a layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Activation, Join, Known, RangeRule, Unknown, get_activation
from ..flow import Codes
from ..flow.gates import gate
from .call import Call, precision_of
from .cells import Cell, activation_names
from .recurrence import Direction, Gate, reproduces

if TYPE_CHECKING:
    from .run import Run

__all__ = ["RECURRENT"]

#: Gates in the order of their blocks, each with the place of its activation.
_GATES = {"LSTM": (("i", 0), ("o", 0), ("f", 0), ("c", 1)),
          "GRU": (("z", 0), ("r", 0), ("h", 1)), "RNN": (("", 0),)}  # fmt: skip

#: Those whose values lie between 0 and 1, and between -1 and 1.
_SHARES = frozenset(["sigmoid", "hardsigmoid"])
_BOUNDED = _SHARES | {"tanh", "softsign"}


def _recurrent(run: Run, call: Call) -> Any:
    if call.dynamic(1) or call.dynamic(2) or call.dynamic(3) or call.dynamic(7):
        return run.unknown(call)
    weight, inner = call.tensor(1), call.tensor(2)
    run.covered |= weight.names | inner.names
    cells = activation_names(call.kind, call.attributes)
    hidden = _hidden(call, cells)
    directions = [Direction() for _ in weight.value]
    for d, each in enumerate(directions):
        for tensor, side in ((weight, "W"), (inner, "R")):
            name = run.name(call, tensor)
            if not any("::" not in n for n in tensor.names):
                name = f"{_place(name, call)}.{side}"  # the weight itself has no name
            name += "_reverse" if d else ""
            gates = _blocks(run, call, name, d, side, cells[d], hidden)
            setattr(each, "ins" if side == "W" else "back", gates)
    given = [None if t is None else t.value for t in call.inputs]
    precision = precision_of(call.value(0).dtype)
    if not reproduces(call.kind, call.attributes, directions, cells, given, call.outs, precision):
        for made in (m for each in directions for m in each.maps):
            made.unproved = "its gates do not reproduce what the node computed in the run"
    return _outputs(run, call, hidden)


def _place(name: str, call: Call) -> str:
    """Return the name of a node's place, which several nodes of one module may have."""
    last = call.node.name.rpartition("/")[2]
    return f"{name}.{last}" if re.search(r"_\d+$", last) and last != name else name


def _hidden(call: Call, cells: list[list[Cell]]) -> tuple[float, float] | None:
    """Return where hidden states lie, if they are bounded, but for a first one that is a signal."""
    low, high = 0.0, 0.0
    if call.has(5) and not call.dynamic(5):
        low, high = min(low, float(call.value(5).min())), max(high, float(call.value(5).max()))
    for each in cells:
        names = [c.name for c in each]
        last = names[-1]
        if last not in _BOUNDED or (call.kind != "RNN" and names[0] not in _SHARES):
            return None
        low, high = min(low, 0.0 if last in _SHARES else -1.0), max(high, 1.0)
    return low, high


def _blocks(
    run: Run, call: Call, name: str, d: int, side: str, cells: list[Cell], hidden: Any
) -> dict[str, Gate]:
    """Report the blocks of one of the two matrices of a direction, a layer for each gate.

    A gate adds up what comes from the input and what comes from the hidden state; each matrix is
    taken with the other one's input at zero, so with the sum of both biases. The new state of a
    GRU that resets after its product takes its part from the hidden state apart.
    """
    matrix = call.value(1 if side == "W" else 2)[d]
    key = (*run.names_of(call.tensor(1 if side == "W" else 2)), d)
    gates = _GATES[call.kind]
    size = matrix.shape[0] // len(gates)
    both = call.value(3)[d].astype(np.float64) if call.has(3) else None
    after = bool(call.attributes.get("linear_before_reset", 0))
    found = {}
    for k, (letter, place) in enumerate(gates):
        rows = slice(k * size, (k + 1) * size)
        halves = None if both is None else (both[: len(matrix)][rows], both[len(matrix) :][rows])
        apart = letter == "h" and after
        if halves is None:
            bias = None
        elif apart:
            bias = halves[0 if side == "W" else 1]
        else:
            bias = halves[0] + halves[1]
        linear = apart and side == "R"
        activation = get_activation("identity") if linear else _activation(cells[place])
        full = f"{name}.{letter}" if letter else name
        limit = float(call.attributes.get("clip", 0.0))
        if limit > 0.0 and not linear:
            activation = _limited(cells[place], limit)
        at = 0 if side == "W" else 5  # the input, or what the state begins with
        x = call.operand(at) if call.dynamic(at) else None
        made = None
        if side == "W" and x is None:
            run.flow.noted.setdefault(full, "its input does not depend on the network's input")
        elif letter == "f" and call.attributes.get("input_forget", 0):
            run.flow.noted.setdefault(full, "the node has no forget gate but 1 less the input gate")
        else:
            bounds = None if side == "W" else hidden
            made = gate(run.flow, full, matrix[rows], bias, activation,
                        None if side == "R" and hidden is None else x, bounds, key)  # fmt: skip
        found[letter] = Gate(matrix[rows], bias, activation, made)
    return found


_NAMED = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "softsign": "softsign",
          "softplus": "softplus"}  # fmt: skip


def _activation(cell: Cell) -> Activation:
    if cell.name in _NAMED:
        return get_activation(_NAMED[cell.name])
    if cell.name in ("leakyrelu", "elu"):
        kind = "leaky_relu" if cell.name == "leakyrelu" else "elu"
        return get_activation(f"{kind}({cell.alpha})")
    return Activation.from_function(cell, cell.name)


class _Limited:
    """An activation of what is clipped first."""

    def __init__(self, cell: Cell, limit: float) -> None:
        self.cell, self.limit = cell, limit

    def __call__(self, z: Any) -> Any:
        return self.cell(np.clip(z, -self.limit, self.limit))


def _limited(cell: Cell, limit: float) -> Activation:
    return Activation.from_function(_Limited(cell, limit), f"clip, {cell.name}")


def _outputs(run: Run, call: Call, hidden: Any) -> list[Codes | None]:
    """Give the results of a recurrent node their codes."""
    signals = [t for t in call.inputs if t is not None and t.codes is not None]
    begins = call.inputs[5] if call.dynamic(5) and call.kind == "GRU" else None

    def within(rules: list[RangeRule]) -> RangeRule:
        known = Known(*hidden) if hidden is not None else Unknown()
        if begins is None:
            return known
        # A GRU may stay where it began; the others forget that in one step.
        first = next(r for r, t in zip(rules, signals, strict=True) if t is begins)
        return Join(operands=(known, first))

    made: list[Codes | None] = []
    for k, out in enumerate(call.outs):
        if out is None:
            made.append(None)
            continue
        # The last of an LSTM's results is its cell's state, which has no bounds.
        rule = within if k < 2 else (lambda _: Unknown())
        made.append(run.flow.event(
            call.kind, call.signals(), out.shape, rule, traits={"recurrent": True}
        ))  # fmt: skip
    return made


RECURRENT = dict.fromkeys(["LSTM", "GRU", "RNN"], _recurrent)
