"""Numbers that Python or NumPy take from tensors, and where they come back.

What becomes of a number between leaving torch and coming back is not seen. It is found out by doing
it: the module runs again and is handed another number at one place of its code (:class:`Change`).
Every operator that takes another number then, and every tensor that comes out of Python with other
numbers in it, has the data's number in it (:class:`Returned`). This is so whatever the
number's value, also where it is the same on all inputs that are tried.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..flow import Operand
from ..tables import words
from .call import numbers

__all__ = ["FROM_DATA", "Change", "EndlessError", "Leaving", "Returned", "Taken"]

FROM_DATA = "a number that Python takes from the data goes into it, so it is another on every input"

#: Functions by which numbers leave.
_ESCAPES = words(
    """
    numpy tolist item __array__ __float__ __int__ __index__ __bool__ __complex__ __contains__
    is_nonzero equal allclose
    """
)

#: Those whose results cannot be exchanged for others, so that what they take is.
_OPAQUE = words(
    """
    __dlpack__ data_ptr tensor new_tensor as_tensor asarray __deepcopy__ __reduce_ex__ storage
    untyped_storage
    """
)

#: Those that make a tensor of numbers.
_MAKERS = frozenset(["tensor", "new_tensor", "as_tensor", "asarray"])

#: Types of arguments that are numbers; whole ones of their own, lists of which are sizes.
_NUMBERS = re.compile(r"\b(Tensor|number|float|complex|bool|str)\b|^(Optional\[)?int\]?$")

#: Calls that a run may have more than the first one, which may be followed by as many again.
_MORE = 500


class EndlessError(Exception):
    """A run does not come to an end, perhaps since a number was changed that ends it."""


@dataclass(frozen=True)
class Change:
    """What is done to the numbers that leave at a place of the code.

    Parameters
    ----------
    sites : frozenset of str
        The places.
    how : str
        ``nudge``, ``raise`` and ``lower`` numbers, ``flip`` truth values, one of each mask with
        ``mask``.
    most : int
        The most operators that may run, since what is changed may be what ends a loop.
    held : mapping of str to sequence
        Truth values that are handed out whatever comes, by place, so that the same way is taken.
    """

    sites: frozenset[str] = frozenset()
    how: str = ""
    most: int = sys.maxsize
    held: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def of(self, value: Any) -> Any:
        """Return what is handed out for a value."""
        if isinstance(value, list | tuple):
            return type(value)(map(self.of, value))
        if isinstance(value, np.ndarray):
            kind, how = value.dtype.kind, self.how
            if (kind == "b") != (how == "flip") or (kind in "iu" and how == "nudge"):
                return value
            if kind == "b":
                return ~value
            if kind not in "iufc":
                return value
            with np.errstate(all="ignore"):
                wide = value if kind in "fc" else np.float64(value)
                return np.asarray(self._moved(wide)).astype(value.dtype)
        if isinstance(value, bool | np.bool_):
            return not value if self.how == "flip" else value
        if isinstance(value, int):
            return value + {"raise": 1, "lower": -1}.get(self.how, 0)
        return self._moved(value) if isinstance(value, float | complex) else value

    def _moved(self, value: Any) -> Any:
        if self.how == "nudge":
            return value * 1.001 + 0.001
        step = {"raise": 3.0, "lower": -3.0}.get(self.how, 0.0)
        return value + step * (abs(value) + 1.0) if step else value


@dataclass(frozen=True)
class Returned:
    """Where numbers that left come back, as other runs showed it.

    Parameters
    ----------
    operators : mapping of int to frozenset of str
        Operators, in order of execution, that take some, and where those left.
    constants : mapping of int to frozenset of str
        Those that take a tensor with some in it, if that still counts as a constant.
    tensors : mapping of int to frozenset of str
        Tensors that come from Python, in order of appearance; the others are constants.
    count : int
        Of the tensors that are known; of more nothing is.
    doubtful : frozenset of int
        Those of which no other run tells whether they are constants.
    """

    operators: Mapping[int, frozenset[str]] = field(default_factory=dict)
    constants: Mapping[int, frozenset[str]] = field(default_factory=dict)
    tensors: Mapping[int, frozenset[str]] = field(default_factory=dict)
    count: int = 0
    doubtful: frozenset[int] = frozenset()

    def elsewhere(self) -> Returned:
        """Return what holds for runs on other data: which tensors are constants."""
        return Returned(tensors=self.tensors, count=self.count, doubtful=self.doubtful)

    def until(self, end: int) -> Returned:
        """Return the same for a run that goes its own way from an operator on."""
        operators, constants = (
            {k: s for k, s in found.items() if k < end}
            for found in (self.operators, self.constants)
        )
        return Returned(operators, constants, self.tensors, self.count, self.doubtful)


@dataclass(frozen=True)
class Taken:
    """What a run's operators took.

    Parameters
    ----------
    operators : list of (str, tuple)
        Name and numbers of each.
    fresh, named : mapping of int to bytes
        Digests of the constants that they take, by operator: made on the way, and the module's own.
    tensors : list of (int, bytes)
        Digests of those that came from Python, and how many operators ran before.
    sites : mapping of str to frozenset of str
        The kinds of numbers that left, by place.
    truths : mapping of str to list
        The truth values that left, by place, in order.
    """

    operators: list[tuple[str, tuple[Any, ...]]]
    fresh: Mapping[int, bytes]
    named: Mapping[int, bytes]
    tensors: list[tuple[int, bytes]]
    sites: Mapping[str, frozenset[str]]
    truths: Mapping[str, list[Any]]


class Leaving:
    """The numbers that leave and return in one run.

    Parameters
    ----------
    torch : module
    change : Change
    returned : Returned or None
        None: nothing is known of other runs.
    """

    def __init__(self, torch: Any, change: Change, returned: Returned | None) -> None:
        self._torch, self._change, self._returned = torch, change, returned
        self._left: list[tuple[str, Operand]] = []
        self._kinds: dict[str, set[str]] = {}
        self._truths: dict[str, list[Any]] = {}
        self._operators: list[tuple[str, tuple[Any, ...]]] = []
        self._tensors: list[tuple[int, bytes]] = []
        self._fresh: dict[int, bytes] = {}
        self._named: dict[int, bytes] = {}
        self._kept: list[Any] = []
        self._places: dict[Any, tuple[tuple[int, str], ...] | None] = {}
        self._inside = False

    def __bool__(self) -> bool:
        """Return whether numbers left that depend on the input, or may have."""
        return bool(self._kinds) or bool(self._tensors)

    @property
    def taken(self) -> Taken:
        """What the run's operators took."""
        sites = {site: frozenset(kinds) for site, kinds in self._kinds.items()}
        return Taken(self._operators, self._fresh, self._named, self._tensors, sites, self._truths)

    def left(self, sites: frozenset[str] = frozenset()) -> list[Operand]:
        """Return what numbers were taken from, at some places or at all."""
        return [operand for site, operand in self._left if not sites or site in sites]

    # -- leaving

    def function(self, run: Any, name: str, func: Any, args: Any, kwargs: Any, found: Any) -> Any:
        """Call a function of torch by which numbers may leave.

        Parameters
        ----------
        run : Run
        name : str
        func : callable
        args, kwargs
        found : list of tensors
            Among the arguments.
        """
        if name in _MAKERS:  # of what is no tensor yet
            known = args[: 1 + (name == "new_tensor")]
            found = [t for t in found if all(t is not k for k in known)]
        before = [t for t in found if run.dynamic(t)]
        if not before or self._inside:
            return func(*args, **kwargs)
        site = _site()
        self._leave(run, site, before)
        if name in _OPAQUE:
            return self._exchanged(site, func, args, kwargs, before)
        self._inside = True
        try:
            out = func(*args, **kwargs)
        finally:
            self._inside = False
        return self._handed(site, out)

    def _exchanged(self, site: str, func: Any, args: Any, kwargs: Any, tensors: list[Any]) -> Any:
        """Call a function that is given other numbers at a place that is changed."""
        kinds = [_kind(t) for t in tensors]
        self._kinds[site].update(kinds)
        if site not in self._change.sites:
            return func(*args, **kwargs)
        others = {id(t): self._torch.from_numpy(np.array(self._change.of(numbers(t))))
                  for t in tensors}  # fmt: skip
        self._kept += others.values()  # or their memory would be gone

        def other(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(other, value))
            return others.get(id(value), value)

        return func(*other(args), **{k: other(v) for k, v in kwargs.items()})

    @staticmethod
    def by(name: str) -> bool:
        """Return whether numbers may leave by a function."""
        return name in _ESCAPES or name in _OPAQUE

    def operator(self, run: Any, func: Any, dynamic: list[Any], out: Any) -> Any:
        """Return what an operator is to return, whose result is no tensor."""
        tags = func.tags
        if self._torch.Tag.data_dependent_output not in tags or self._inside or not dynamic:
            return out
        site = _site()
        self._leave(run, site, dynamic)
        return self._handed(site, out)

    def shaped(self, run: Any, func: Any, dynamic: list[Any]) -> None:
        """Note an operator whose result's size depends on data, before it runs."""
        if self._torch.Tag.dynamic_output_shape not in func.tags or not dynamic:
            return
        masks = [t for t in dynamic if t.dtype is self._torch.bool and t.numel()]
        if not masks and func._schema.name in ("aten::index", "aten::index_put"):
            return  # by whole numbers, as many as there are
        site = _site()
        self._leave(run, site, dynamic)
        self._kinds[site].add("mask" if masks else "opaque")
        if site in self._change.sites and self._change.how == "mask":
            for mask in masks:
                mask[(0,) * mask.ndim].logical_not_()

    def _leave(self, run: Any, site: str, tensors: list[Any]) -> None:
        self._kinds.setdefault(site, set())
        for tensor in tensors:
            operand = run.operand(tensor)
            if operand.codes is not None:
                kept = Operand(operand.codes.copy(), lambda t=tensor: numbers(t))  # type: ignore[misc]
                self._left.append((site, kept))

    def _handed(self, site: str, out: Any) -> Any:
        kinds = _kinds_of(out)
        self._kinds[site].update(kinds)
        if kinds == {"bool"}:
            truths, held = self._truths.setdefault(site, []), self._change.held.get(site, ())
            truths.append(out)
            if len(truths) <= len(held) and np.shape(held[len(truths) - 1]) == np.shape(out):
                return held[len(truths) - 1]
        return self._change.of(out) if site in self._change.sites else out

    # -- coming back

    def tensor(self, found: Any) -> tuple[frozenset[str] | None, bool]:
        """Return where the numbers of a tensor from Python left, none: anywhere.

        None if it is a constant. And whether it may be one all the same.
        """
        self._tensors.append((len(self._operators), _digest(found)))
        known, at = self._returned, len(self._tensors) - 1
        if known is None or at >= known.count:
            return frozenset(), True
        return known.tensors.get(at), at in known.doubtful

    def called(
        self, func: Any, args: Any, kwargs: Any, fresh: list[Any], named: list[Any]
    ) -> frozenset[str] | None:
        """Write down the numbers that an operator takes.

        Parameters
        ----------
        func : OpOverload
        args, kwargs
        fresh, named : list of ndarray
            Constants that it takes: such as were made on the way, and parts of the module's own.

        Returns
        -------
        frozenset of str or None
            Where numbers among them left, none: anywhere; None if they do not depend on the input.
        """
        if func not in self._places:
            self._places[func] = _places(func)
        places = self._places[func]
        if places is None:
            return None
        taken = []
        for k, name in places:
            value = args[k] if k < len(args) else kwargs.get(name)
            if isinstance(value, int | float | complex | str):
                taken.append(value)
            elif isinstance(value, list | tuple):
                taken += [v for v in value if isinstance(v, int | float | complex)]
        at = len(self._operators)
        for kept, arrays in ((self._fresh, fresh), (self._named, named)):
            if arrays:
                kept[at] = b"".join(map(_digest, arrays))
        self._operators.append((str(func), tuple(taken)))
        if len(self._operators) > self._change.most:
            raise EndlessError
        known = self._returned
        if known is None:
            return None
        return known.operators.get(at, known.constants.get(at) if fresh else None)

    def most(self) -> int:
        """Return the most operators that another run may have."""
        return 4 * len(self._operators) + _MORE


def _digest(found: Any) -> bytes:
    whole = np.ascontiguousarray(found)
    shape = f"{whole.dtype}{whole.shape}".encode()
    return hashlib.blake2b(shape + whole.tobytes(), digest_size=16).digest()


def _kinds_of(value: Any) -> set[str]:
    if isinstance(value, list | tuple):
        return set().union(*map(_kinds_of, value))
    if isinstance(value, np.ndarray):
        return {_kind(value)}
    if isinstance(value, bool | np.bool_):
        return {"bool"}
    return {"int"} if isinstance(value, int) else {"float"}


def _kind(array: Any) -> str:
    text = str(array.dtype)
    return "bool" if "bool" in text else "int" if "int" in text else "float"


def _places(func: Any) -> tuple[tuple[int, str], ...] | None:
    """Return the arguments of an operator that may be numbers; None of a view.

    A view takes none, and whether there is one may depend on sizes: one row is written by another
    view than two are.
    """
    schema = func._schema
    if not schema.is_mutable and any(r.alias_info is not None for r in schema.returns):
        return None
    return tuple(
        (k, argument.name)
        for k, argument in enumerate(schema.arguments)
        if _NUMBERS.search(str(argument.type))
    )


def _site() -> str:
    """Return the place of the code, outside torch and eiplane, that runs."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] not in ("torch", "eiplane", "numpy"):
            break
        frame = frame.f_back
    code = frame.f_code
    # Of two calls on one line each has its own. (An instruction's number will not do: Python
    # changes instructions when they have run for a while, and tests a loop's condition twice.)
    where = next(itertools.islice(code.co_positions(), frame.f_lasti // 2, None), None)
    return f"{code.co_filename}:{frame.f_lineno}:{where}"
