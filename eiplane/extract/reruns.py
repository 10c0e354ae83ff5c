"""Further runs of a module from which numbers leave torch: what comes of those.

A number that Python takes from the data (``h * z.max().item()``) comes back as a constant that
nothing tells from one of the module's own. So the module runs again on other inputs and, on the
same one, with other numbers handed to Python, at one place of the code after the other. Where the
same operators run, those that take other numbers are told apart one by one. Where others run, for
the code has a branch, the layers of both ways are held against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..network import Network
from ..results import Skipped
from .aten import Change, Returned, Run, Taken
from .steady import copied, varied
from .untouched import State

__all__ = ["once", "rerun"]

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
Finished = tuple[Network | None, tuple[Skipped, ...]]

#: Groups of places that get runs of their own, at most.
_MOST_GROUPS = 8

#: How each kind of number is changed.
_HOW = {
    "float": ("nudge", "raise", "lower"),
    "int": ("raise", "lower"),
    "bool": ("flip",),
    "mask": ("mask",),
    "opaque": (),
}


def rerun(
    torch: Any, module: Any, used: Inputs, first: Run, state: State
) -> tuple[Run, list[Finished], Returned]:
    """Return the first run again, that now knows its numbers, and what ran another way.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    used : tuple
        Arguments of the first run.
    first : Run
    state : State
        As the first run found it.

    Returns
    -------
    run : Run
    others : list of (Network or None, tuple of Skipped)
        Of the runs that took another way.
    returned : Returned
        What the last run knows.
    """
    taken, most = first.leaving.taken, first.leaving.most()
    found = []

    def tried(tries: Iterator[tuple[Change, Inputs]]) -> None:
        for change, inputs in tries:
            run = _follow(torch, module, inputs, state, change, None)
            if run is not None:
                found.append((change, inputs, _compared(taken, run.leaving.taken)))
                vars(run).clear()  # what it holds refers to itself in circles, and is large

    tried(_tries(torch, used, taken, most))
    if taken.truths and not any(not c.sites and not seen.strayed for c, _, seen in found):
        tried(_held(torch, used, taken, most))
    returned = _returned(taken, [(change, seen) for change, _, seen in found])
    others: list[Finished] = []
    for change, inputs, seen in found:
        if (seen.strayed or seen.chosen) and not change.held:
            known = returned.until(seen.end)
            run = _follow(torch, module, inputs, state, change, known)
            others += [] if run is None else [run.finish()]
    return once(torch, module, used, state, {"returned": returned}), others, returned


def once(torch: Any, module: Any, used: Inputs, state: State, told: Mapping[str, Any]) -> Run:
    """Return one more run of a module on the same input.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    used : tuple
        Arguments of the first run.
    state : State
        As the first run found it.
    told : mapping
        What is known now, for :class:`Run`.

    Returns
    -------
    Run
    """
    state.begin()
    run = Run(torch, module, **told)
    run.follow(module, *copied(used, torch))
    return run


def _tries(torch: Any, used: Inputs, taken: Taken, most: int) -> Iterator[tuple[Change, Inputs]]:
    """Yield what is to be tried."""
    for inputs in varied(used, torch):
        yield Change(most=most), inputs
    sites = list(taken.sites)
    groups = [[site] for site in sites[: _MOST_GROUPS - 1]] + [sites[_MOST_GROUPS - 1 :]]
    for group in groups:
        hows = [how for site in group for kind in taken.sites[site] for how in _HOW[kind]]
        for how in sorted(set(hows)):
            yield Change(frozenset(group), how, most), copied(used, torch)


def _held(torch: Any, used: Inputs, taken: Taken, most: int) -> Iterator[tuple[Change, Inputs]]:
    """Yield other inputs that shall go the first one's way: what is a constant on it, they show."""
    for inputs in varied(used, torch):
        yield Change(most=most, held=taken.truths), inputs


def _follow(
    torch: Any, module: Any, inputs: Inputs, state: State, change: Change, returned: Returned | None
) -> Run | None:
    """Return a run, or None if the module does not take that."""
    state.begin()
    run = Run(torch, module, change=change, returned=returned)
    try:
        run.follow(module, *inputs)
        return run
    except MemoryError:
        raise
    except Exception:
        if run.failure is not None:
            raise
        return None


@dataclass(frozen=True)
class _Seen:
    """How a run differs from the first one.

    Parameters
    ----------
    strayed : bool
        Whether other operators run from some on.
    end : int
        The first such operator.
    chosen : bool
        Whether one before it takes another part of the module's own constants.
    operators, constants : list of int
        Those before it that take other numbers, and constants with others in them.
    tensors : dict of int to bool
        Those that came from Python before it, and whether they hold other numbers.
    """

    strayed: bool
    end: int
    chosen: bool
    operators: list[int]
    constants: list[int]
    tensors: dict[int, bool]


def _compared(first: Taken, other: Taken) -> _Seen:
    operators, end = [], min(len(first.operators), len(other.operators))
    for k in range(end):
        one, two = first.operators[k], other.operators[k]
        if one[0] != two[0]:
            end = k
            break
        if len(one[1]) != len(two[1]) or not all(map(_same, one[1], two[1])):
            operators.append(k)
    whole = len(first.operators) == end == len(other.operators)
    tensors = {
        k: one != two
        for k, (one, two) in enumerate(zip(first.tensors, other.tensors, strict=False))
        if one[0] <= end
    }
    chosen = any(other.named.get(k) != one for k, one in first.named.items() if k < end)
    constants = [k for k, one in first.fresh.items() if k < end and other.fresh.get(k) != one]
    return _Seen(not whole, end, chosen, operators, constants, tensors)


def _same(one: Any, two: Any) -> bool:
    return bool(one == two or (one != one and two != two))


def _returned(first: Taken, seen: Sequence[tuple[Change, _Seen]]) -> Returned:
    """Return where numbers come back, from how all runs differ from the first one."""
    anywhere = frozenset(s for s, kinds in first.sites.items() if not kinds <= {"float", "bool"})
    operators: dict[int, frozenset[str]] = {}
    constants: dict[int, frozenset[str]] = {}
    tensors: dict[int, frozenset[str]] = {}
    # Runs on other inputs come last here: they do not tell the place.
    for change, one in sorted(seen, key=lambda item: not item[0].sites):
        for k in one.operators:
            _add(operators, k, change.sites, anywhere)
        for k in one.constants:
            _add(constants, k, change.sites, anywhere)
        for k, differs in one.tensors.items():
            if differs:
                _add(tensors, k, change.sites, anywhere)
    known = set().union(*(one.tensors for _, one in seen))
    doubtful = frozenset(range(len(first.tensors))) - known
    tensors |= dict.fromkeys(doubtful, frozenset())
    return Returned(operators, constants, tensors, len(first.tensors), doubtful)


def _add(
    found: dict[int, frozenset[str]], k: int, sites: frozenset[str], anywhere: frozenset[str]
) -> None:
    if sites:
        found[k] = found.get(k, frozenset()) | sites
    elif k not in found:
        found[k] = frozenset()
    elif found[k]:
        found[k] = found[k] | anywhere
