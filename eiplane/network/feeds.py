"""Which rule a layer's inputs follow, and the interval that a rule comes to.

Neither recurses, which a deep network would exhaust.
"""

from __future__ import annotations

from typing import Any

from .ranges import Context, Interval, Join, Known, LayerOutput, NetworkInput, RangeRule

__all__ = ["evaluate", "input_rule"]


def evaluate(
    rule: RangeRule, context: Context, memo: dict[int, tuple[RangeRule, Interval]]
) -> Interval:
    """Return the interval of a rule.

    Parameters
    ----------
    rule : RangeRule
    context : Context
    memo : dict
        Of what was evaluated before in the same context; filled.

    Returns
    -------
    Interval
    """
    todo = [rule]
    while todo:
        at = todo[-1]
        if id(at) in memo:
            todo.pop()
            continue
        found = at.ready(context)
        if found is None:
            missing = [x for x in at.operands if id(x) not in memo]
            if missing:
                todo += missing
                continue
            found = at.interval([memo[id(x)][1] for x in at.operands], context)
        memo[id(at)] = at, found
        todo.pop()
    return memo[id(rule)][1]


def input_rule(network: Any, name: str, memo: dict[str, RangeRule]) -> RangeRule:
    """Return the rule of a layer's inputs.

    Parameters
    ----------
    network : Network
    name : str
    memo : dict
        Of the rules found before; filled.

    Returns
    -------
    RangeRule
        The network's own; else the joined outputs of the layers that feed it, or its known range;
        else the range of the network's input.
    """
    todo = [name]
    while todo:
        at = todo[-1]
        before = network.sources[at]
        missing = [s for s in before if s not in memo]
        if at in network.inputs:
            memo[at] = network.inputs[at]
        elif at in network.in_ranges:
            memo[at] = Known(network.in_ranges[at][0], network.in_ranges[at][1], "activation")
        elif missing:
            todo += missing
            continue
        elif before:
            outs = tuple(LayerOutput(s, operands=(memo[s],)) for s in before)
            memo[at] = outs[0] if len(outs) == 1 else Join(operands=outs)
        else:
            memo[at] = NetworkInput()
        todo.pop()
    return memo[name]
