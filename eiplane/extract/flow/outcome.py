"""What follows the rows of a map: which of its uses count, and the function that they see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, Pool, get_activation
from .recognise import PROBE, Function, constant, describe, same
from .signals import Map, Origin, Pooling, Use, Value, common

__all__ = ["Outcome", "mark_live", "outcomes", "same_outcome"]

#: Entries of the matrix of a pooled convolution's whole receptive field, at most (256 MiB).
MOST_POOLED_ENTRIES = 1 << 25

#: Layers that one map's rows are cut in, at most.
_MOST_PARTS = 64

Rows = NDArray[np.intp]


@dataclass(eq=False)
class Outcome:
    """What follows some rows of a map.

    Parameters
    ----------
    rows : ndarray of int
    section : str
        Name of the block of rows, if it has one.
    first : Function or None
        None where nothing is known.
    pool : Origin or None
        A pooling that belongs to the layer.
    after : Function or None
        What follows the pooling.
    uses : list of Use
        That count.
    unknown : str
        Why it is not analysed.
    unpooled : str
        Why its pooling is left out.
    members : list of Outcome
        What was joined in it: the same function, of several values.
    """

    rows: Rows
    section: str = ""
    first: Function | None = None
    pool: Origin | None = None
    after: Function | None = None
    uses: Sequence[Use] = ()
    unknown: str = ""
    unpooled: str = ""
    members: list[Outcome] = field(default_factory=list)

    @property
    def parts(self) -> list[Outcome]:
        """What was joined in it, each of one value; itself, if nothing was."""
        return self.members or [self]


def mark_live(origins: Sequence[Origin]) -> None:
    """Mark what leads to the network's result, and the uses that do.

    What decides where entries go counts if those entries do.
    """
    _mark_live(origins)
    deciding = [o for o in origins if not o.live and "decides" in o.traits]
    while True:
        late = [o for o in deciding if not o.always
                and any(_leads(value) for value in o.traits["decides"])]  # fmt: skip
        if not late:
            return
        for origin in late:
            origin.always = True
        _mark_live(origins)


def _mark_live(origins: Sequence[Origin]) -> None:
    for origin in reversed(origins):
        for use in origin.uses:
            use.live = use.by.live if use.by is not None else not use.aside
        origin.live = origin.always or any(use.live for use in origin.uses)
    for origin in reversed(origins):
        if not origin.live:  # a loss or another single number is all that it leads to
            for use in origin.uses:
                use.live = use.by is None or use.by.live
            origin.live = any(use.live for use in origin.uses)


def _leads(value: Value) -> bool:
    """Return whether a value, or a function of it, leads to the network's result."""
    return any(use.live and _made_of(use.value, value) for use in value.origin.uses)


def _made_of(value: Value, part: Value) -> bool:
    waiting, seen = [value], {id(value)}
    while waiting:
        one = waiting.pop()
        if one is part:
            return True
        for other in one.operands:  # older values are not made of later ones
            if other.base >= part.base and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return False


def _counted(origin: Origin) -> list[Use]:
    """Return the uses that count: the network's result does not, beside others."""
    live = [use for use in origin.uses if use.live]
    return [use for use in live if use.by is not None] or live


def _poolable(use: Use) -> Origin | None:
    """Return the pooling that a use is, if it can be a part of a layer."""
    pooling = use.by.pooling if use.by is not None else None
    conv = use.value.origin.map.conv if use.value.origin.map is not None else None
    if pooling is None or conv is None or conv.transposed:
        return None
    return use.by if len(conv.stride) == len(pooling.window) else None


def _cases(rows: int, uses: Sequence[Use]) -> list[tuple[Rows, list[Use]]]:
    """Return the rows that are used alike, with their uses, in order of the first row."""
    if not uses:
        return [(np.arange(rows), [])]
    groups: dict[tuple[int, int, str], list[Use]] = {}
    for use in uses:
        pool = _poolable(use)
        key = (id(use.value), 0 if pool is None else id(pool), use.unknown)
        groups.setdefault(key, []).append(use)
    table = np.zeros((rows, len(groups)), dtype=bool)
    for k, alike in enumerate(groups.values()):
        for use in alike:
            table[use.rows, k] = True
    if bool((table == table[:1]).all()):
        return [(np.arange(rows), [u for k, alike in enumerate(groups.values())
                                   if table[0, k] for u in alike])]  # fmt: skip
    patterns, first, place = np.unique(table, axis=0, return_index=True, return_inverse=True)
    members = list(groups.values())
    found = []
    for k in np.argsort(first).tolist():
        mine = [use for j in np.flatnonzero(patterns[k]).tolist() for use in members[j]]
        found.append((np.flatnonzero(place.reshape(-1) == k), mine))
    return found


def outcomes(origin: Origin) -> list[Outcome]:
    """Return what follows a map, in parts of rows that have different fates.

    Parameters
    ----------
    origin : Origin
        Of a map; :func:`mark_live` has been called.

    Returns
    -------
    list of Outcome
    """
    made = origin.map
    assert made is not None
    found: list[Outcome] = []
    for section, block in made.sections or (("", slice(0, origin.rows)),):
        inside = np.zeros(origin.rows, dtype=bool)
        inside[block] = True
        if made.fixed is not None:
            rows = np.flatnonzero(inside)
            ones = np.ones(len(rows))
            assert origin.value is not None
            gate = Function(origin.value, ones, 0 * ones, get_activation(made.fixed))
            found.append(Outcome(rows, section, gate))
            continue
        for rows, uses in _cases(origin.rows, _counted(origin)):
            mine = rows[inside[rows]]
            if len(mine):
                found += _with_pool(origin, mine, section, uses)
    return _merged(made, found)


def _with_pool(origin: Origin, rows: Rows, section: str, uses: list[Use]) -> list[Outcome]:
    """Return the outcomes of rows that are used alike."""
    reason = next((use.unknown for use in uses if use.unknown), "")
    if reason:
        return [Outcome(rows, section, unknown=reason)]
    if not uses:
        return [Outcome(rows, section, unknown="its output does not lead to the network's result")]
    pools = {id(_poolable(use)): _poolable(use) for use in uses}
    pool = next(iter(pools.values())) if len(pools) == 1 else None
    if pool is None or pool.pooling is None:
        still = np.all([constant(v, rows) for v in {use.value for use in uses}], axis=0)
        parts = [rows[~still], rows[still]] if still.any() and not still.all() else [rows]
        return [_plain(part, section, uses) for part in parts]
    too_wide = _too_wide(origin, pool.pooling)
    if too_wide:
        outcome = _plain(rows, section, uses)
        outcome.unpooled = too_wide
        return [outcome]
    found = []
    for later, after in _cases(pool.rows, _counted(pool)):
        mine = rows[np.isin(rows, later)]
        if not len(mine):
            continue
        outcome = _plain(mine, section, uses)
        then = _plain(mine, section, after) if after else None
        unknown = next((use.unknown for use in after if use.unknown), "")
        outcome.unknown = outcome.unknown or unknown or ("" if then is None else then.unknown)
        outcome.pool = pool
        outcome.after = None if then is None else _behind(outcome, then.first)
        found.append(outcome)
    return found


def _behind(outcome: Outcome, after: Function | None) -> Function | None:
    """Return what follows a pooling in the layer: nothing where a scale cannot be folded."""
    first, pool = outcome.first, outcome.pool
    if after is None or ((after.scale == 1.0).all() and not after.shift.any()):
        return after
    assert pool is not None and pool.pooling is not None and pool.value is not None
    function = None if first is None else first.activation
    linear = function is not None and function.kind == "identity"
    if linear and (pool.pooling.kind == "mean" or (after.scale > 0).all()):
        return after
    return describe(pool.value, outcome.rows)


def _plain(rows: Rows, section: str, uses: list[Use]) -> Outcome:
    """Return the outcome of rows without a pooling."""
    values = list({id(use.value): use.value for use in uses}.values())
    target = values[0]
    if not all(same(target, other, rows) for other in values[1:]):
        target = common(values)  # the rest of the network sees what all these are made of
    first = describe(target, rows)
    return Outcome(rows, section, first, uses=uses, unknown=first.reason)


def _too_wide(origin: Origin, pooling: Pooling) -> str:
    """Say so where a pooling's receptive field is too large to write down."""
    made = origin.map
    assert made is not None and made.conv is not None
    pool = Pool(pooling.kind, pooling.window, step(made, pooling), made.conv.dilation)
    n_out, n_in, *kernel = map(int, made.weight.shape)
    entries = n_out * n_in * math.prod(pool.field(tuple(kernel)))
    if pooling.kind == "max" or pooling.source is not origin.value:
        entries *= pool.positions
    if entries <= MOST_POOLED_ENTRIES:
        return ""
    window = "x".join(map(str, pooling.window))
    return (
        f"{pooling.kind} pooling over {window} positions spans too many inputs; the convolution is "
        "measured without it"
    )


def step(made: Map, pooling: Pooling) -> tuple[int, ...]:
    """Return how far neighbours of a pooling's window lie apart in the convolution's input."""
    assert made.conv is not None
    return tuple(s * d for s, d in zip(made.conv.stride, pooling.dilation, strict=True))


def _merged(made: Map, found: list[Outcome]) -> list[Outcome]:
    """Join parts that are followed by the same."""
    kept: list[Outcome] = []
    for outcome in found:
        alike = next((k for k in kept if _alike(k, outcome)), None)
        if alike is None:
            kept.append(outcome)
            continue
        alike.members = [*(alike.members or [replace(alike)]), outcome]
        order = np.argsort(np.concatenate([alike.rows, outcome.rows]), kind="stable")
        alike.rows = np.concatenate([alike.rows, outcome.rows])[order]
        if alike.first is not None and outcome.first is not None:
            alike.first = _stacked(alike.first, outcome.first, order)
        if alike.after is not None and outcome.after is not None:
            alike.after = _stacked(alike.after, outcome.after, order)
        alike.uses = [*alike.uses, *outcome.uses]
    groups = made.conv.groups if made.conv is not None else 1
    whole = len(kept) == 1
    if (groups > 1 and not whole and not made.sections) or len(kept) > _MOST_PARTS:
        rows = np.concatenate([k.rows for k in kept])
        reason = "its outputs are used in several ways, so it is no one layer"
        return [Outcome(np.sort(rows), unknown=reason)]
    return kept


def _stacked(a: Function, b: Function, order: Rows) -> Function:
    scale, shift = np.concatenate([a.scale, b.scale]), np.concatenate([a.shift, b.shift])
    return Function(a.value, scale[order], shift[order], a.activation, a.reason)


def _alike(a: Outcome, b: Outcome) -> bool:
    return (
        a.section == b.section
        and a.unknown == b.unknown
        and a.unpooled == b.unpooled
        and a.pool is b.pool
        and _same_name(a.first, b.first)
        and _same_name(a.after, b.after)
    )


def _same_name(a: Function | None, b: Function | None) -> bool:
    if a is None or b is None:
        return a is b
    # By itself a name says little: functions of the same operators may differ.
    return a.activation == b.activation and (a.activation is None or a.activation.rows is None)


def same_outcome(a: Outcome, b: Outcome) -> bool:
    """Return whether two uses of the same weights make the same layer."""
    if not np.array_equal(a.rows, b.rows) or (a.pool is None) != (b.pool is None):
        return False
    if bool(a.unknown) != bool(b.unknown) or a.section != b.section:
        return False
    if a.pool is not None and b.pool is not None:
        x, y = a.pool.pooling, b.pool.pooling
        assert x is not None and y is not None
        if (x.kind, x.window, x.dilation) != (y.kind, y.window, y.dilation):
            return False
    return bool(a.unknown) or (_equal(a.first, b.first) and _equal(a.after, b.after))


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return (
        _same_function(a.activation, b.activation)
        and np.allclose(a.scale, b.scale, rtol=1e-12, atol=0)
        and np.allclose(a.shift, b.shift, rtol=1e-12, atol=0)
    )


def _same_function(a: Activation | None, b: Activation | None) -> bool:
    """Say whether two functions have a name and their values in common."""
    if a is None or b is None or a == b:
        return a is b or a == b
    if a.name != b.name or a.rows != b.rows:
        return False
    # Made of the same operators, they may hold other constants.
    probes = np.repeat(PROBE[:, None], a.rows or 1, axis=1)
    with np.errstate(all="ignore"):
        return np.array_equal(a(probes), b(probes), equal_nan=True)
