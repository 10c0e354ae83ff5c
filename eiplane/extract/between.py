"""From the input of one part of a module to the output of another, by running the module itself.

What goes into the first part is replaced by what is to be tried, in batches; everything that does
not come from there is that of the first sample of an example input. The module is afterwards as it
was: see :func:`.untouched.untouched`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..run import Extent, Range
from .called import kind_of, module_of
from .modules import examples
from .options import ExtractOptions
from .programs import Example
from .untouched import untouched

__all__ = ["Between", "between"]

Array = NDArray[np.float64]

#: Numbers of the larger end that are run through the module at once.
_AT_ONCE = 1 << 20

#: Samples of a second run, which shows whether the first axis is theirs.
_TRIED = 3

#: What a sample may move by, beside its size, as others go along with it.
_ROUNDED = 1e-4

#: Outputs of modules whose range is known.
_KNOWN: dict[str, Range] = {
    "Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softsign": (-1.0, 1.0), "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0), "Softmax2d": (0.0, 1.0), "ReLU6": (0.0, 6.0),
}  # fmt: skip


class _NoWayError(ValueError):
    """There is no such way through the module."""


class _ReachedError(Exception):
    """None, but the way out: the last part has been run, and what follows does not matter."""


@dataclass(frozen=True, eq=False)
class Between:
    """A part of a module as a function of numbers.

    Parameters
    ----------
    first, last : str
        Names of modules.
    kind : str
        Of the last one.
    in_shape, out_shape : tuple of int
        Of one sample.
    in_known, out_known : tuple of float or None
        Ranges, where they follow from what makes the numbers: a function with bounds before the
        first part, or as the last one.
    from_input : bool
        Whether the first part takes the input of the whole module.
    takers : tuple of str
        Names of the modules that take the same numbers: the first part, and what is within.
    seen_in, seen_out : tuple of float or None
        Ranges in data, where those are wanted.
    run : callable
        Of values of shape (samples, n_in) makes those of shape (samples, n_out).
    """

    first: str
    last: str
    kind: str
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    in_known: Range | None
    out_known: Range | None
    from_input: bool
    takers: tuple[str, ...]
    seen_in: Range | None
    seen_out: Range | None
    run: Callable[[Array], Array]

    @property
    def name(self) -> str:
        """What the result is called."""
        return f"{self.first}..{self.last}"

    @property
    def n_in(self) -> int:
        """Number of inputs."""
        return int(np.prod(self.in_shape))

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return int(np.prod(self.out_shape))


@contextlib.contextmanager
def between(module: Any, first: str, last: str, options: ExtractOptions) -> Iterator[Between]:
    """Make a part of a module a function.

    Parameters
    ----------
    module : torch.nn.Module
    first, last : str
        From the input of one to the output of the other.
    options : ExtractOptions

    Yields
    ------
    Between
        To be used inside.

    Raises
    ------
    ValueError
        If there is no such way through the module, with the reason.
    """
    torch = sys.modules["torch"]
    module, example = module_of(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(
            f"spans: ({first!r}, {last!r}) is no chain of dense layers, and nothing can be put in "
            "the way of a scripted module; give the one that it was made of"
        )
    if example is not None and example.at_once is not None:
        raise ValueError(
            f"spans: ({first!r}, {last!r}) is no chain of dense layers, and the program takes "
            f"{example.at_once} samples at a time; export it with dynamic_shapes for them"
        )
    with untouched(module, torch):
        yield _Way(torch, module, first, last).between(options, example)


class _Way:
    """The way from one part of a module to another."""

    def __init__(self, torch: Any, module: Any, first: str, last: str) -> None:
        self.torch, self.module = torch, module
        self.first, self.last = first, last
        self.title = f"spans: ({first!r}, {last!r})"
        parts = dict(module.named_modules())
        self.start, self.stop = parts[first], parts[last]
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def between(self, options: ExtractOptions, example: Example | None) -> Between:
        inputs, data = examples(self.module, options, example)
        seen = self._example(inputs)
        taken, given = seen.taken, seen.given
        extents = None
        if options.quantiles is not None:
            extents = Extent(options.quantiles), Extent(options.quantiles)
            batches = [(self.args, self.kwargs)]
            for args, kwargs in batches if data is None else [*batches, *data]:
                some = self._observed(args, kwargs)
                for extent, numbers in zip(extents, (some.taken, some.given), strict=True):
                    extent.add(numbers.detach().cpu().double().numpy())
        at_once = max(1, _AT_ONCE // max(taken[0].numel(), given[0].numel(), 1))

        def run(values: Array) -> Array:
            cuts = range(0, len(values), at_once)
            return np.concatenate([self._run(taken, values[a : a + at_once]) for a in cuts])

        return Between(
            self.first,
            self.last,
            kind_of(self.stop),
            tuple(taken.shape[1:]),
            tuple(given.shape[1:]),
            seen.known,
            _range_of(self.stop),
            seen.from_input,
            tuple(seen.takers),
            None if extents is None else extents[0].range,
            None if extents is None else extents[1].range,
            run,
        )

    def _example(self, inputs: Any) -> _Seen:
        """Return what an example input makes of both ends; it becomes what surrounds them."""
        error: Exception | None = None
        for args, kwargs in inputs:
            self.args, self.kwargs = args, kwargs
            try:
                found = self._observed(args, kwargs)
                more = self._observed(*self._repeated(_TRIED))
                if not len(more.taken) == len(more.given) == _TRIED:
                    raise ValueError("the first axis is not that of samples")
                if not self._apart(found.taken):
                    raise ValueError("what comes of a sample depends on the other ones")
            except Exception as reason:
                error = error or reason
                continue
            return found
        if isinstance(error, _NoWayError):
            raise error
        raise ValueError(
            f"{self.title}: the forward pass failed on the example input "
            f"({type(error).__name__}: {error}); give another with input_size= or input_data="
        ) from error

    def _apart(self, taken: Any) -> bool:
        """Whether samples go through alone: a sequence without samples would be a batch as well."""
        one = taken[:1].detach().cpu().double().numpy()
        other = 0.5 * one + 0.25 * (np.abs(one).max(initial=0.0) or 1.0)
        try:
            alike, among = (self._run(taken, np.concatenate([one, v, v])) for v in (one, other))
        except ValueError:  # it does not take the other: nothing is known
            return True
        size = float(np.abs(alike).max(initial=0.0))
        return bool(np.abs(alike[0] - among[0]).max(initial=0.0) <= _ROUNDED * size)

    def _observed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Seen:
        """Run the module once, and look at both ends."""
        torch, seen = self.torch, _Seen()
        made: list[tuple[Any, Any]] = []  # tensors and the modules that gave them: kept alive

        def before(part: Any, taken: tuple[Any, ...], named: dict[str, Any]) -> None:
            number = _first_tensor(torch, (*taken, *named.values()))
            if part is self.start:
                seen.calls += 1
                seen.taken = number
            if number is not None and number is seen.taken:
                seen.takers.append(names[part])

        def after(part: Any, taken: tuple[Any, ...], given: Any) -> None:
            if part is self.stop:
                seen.ends += 1
                seen.early = seen.calls == 0
                seen.given = _first_tensor(torch, _flat(given))
            made.append((_first_tensor(torch, _flat(given)), part))

        names = {part: name for name, part in self.module.named_modules()}
        handles = []
        for part in self.module.modules():
            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after))
        try:
            self.module(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        self._check(seen)
        maker = next((part for tensor, part in made if tensor is seen.taken), None)
        seen.known = None if maker is None else _range_of(maker)
        seen.from_input = any(seen.taken is v for v in (*args, *kwargs.values()))
        return seen

    def _check(self, seen: _Seen) -> None:
        for name, calls in ((self.first, seen.calls), (self.last, seen.ends)):
            if calls != 1:
                raise _NoWayError(
                    f"{self.title}: {name!r} is run {calls} times by the module, and must be once"
                )
        if seen.early:
            raise _NoWayError(f"{self.title}: {self.last!r} is run before {self.first!r}")
        for name, numbers, what in (
            (self.first, seen.taken, "take"), (self.last, seen.given, "give"),
        ):  # fmt: skip
            if numbers is None or not numbers.is_floating_point() or numbers.dim() < 2:
                raise _NoWayError(
                    f"{self.title}: {name!r} does not {what} a tensor of floating-point numbers "
                    "with samples along its first axis"
                )

    def _repeated(self, count: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the first sample of the example so many times."""
        args = tuple(_repeated(self.torch, v, count) for v in self.args)
        return args, {k: _repeated(self.torch, v, count) for k, v in self.kwargs.items()}

    def _run(self, taken: Any, values: Array) -> Array:
        """Run values through the module."""
        torch, count = self.torch, len(values)
        tried = torch.as_tensor(np.ascontiguousarray(values)).to(taken.device, taken.dtype)
        tried = tried.reshape(count, *taken.shape[1:])
        found: list[Any] = []

        def put(part: Any, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
            places = [i for i, v in enumerate(args) if isinstance(v, torch.Tensor)]
            if places:
                args = (*args[: places[0]], tried, *args[places[0] + 1 :])
            else:
                name = next(k for k, v in named.items() if isinstance(v, torch.Tensor))
                named = {**named, name: tried}
            return args, named

        def take(part: Any, args: tuple[Any, ...], given: Any) -> None:
            found.append(_first_tensor(torch, _flat(given)))
            raise _ReachedError

        handles = [
            self.start.register_forward_pre_hook(put, with_kwargs=True),
            self.stop.register_forward_hook(take),
        ]
        args, kwargs = self._repeated(count)
        try:
            with contextlib.suppress(_ReachedError):
                self.module(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        if not found or len(found[0]) != count:
            raise ValueError(f"{self.title}: a batch of samples does not stay one on the way")
        numbers = found[0].detach().cpu().double().numpy().reshape(count, -1)
        if not np.isfinite(numbers).all():
            raise ValueError(f"{self.title}: the outputs are not all finite")
        return np.asarray(numbers, np.float64)


@dataclass(eq=False)
class _Seen:
    """Both ends in one run."""

    taken: Any = None
    given: Any = None
    calls: int = 0
    ends: int = 0
    early: bool = False
    takers: list[str] = field(default_factory=list)
    known: Range | None = None
    from_input: bool = False


def _flat(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _first_tensor(torch: Any, values: tuple[Any, ...]) -> Any:
    return next((v for v in values if isinstance(v, torch.Tensor)), None)


def _repeated(torch: Any, value: Any, count: int) -> Any:
    """Return the first sample of a tensor so many times."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    return value[:1].expand(count, *value.shape[1:]).contiguous()


def _range_of(part: Any) -> Range | None:
    """Return the range of what a module gives, where it is known."""
    kind = kind_of(part)
    if kind == "Sequential" and len(part):
        return _range_of(part[-1])
    if kind == "Hardtanh":
        return float(part.min_val), float(part.max_val)
    return _KNOWN.get(kind)
