"""What a network does with the outputs of its linear maps, found by changing them. No eiplane here.

A map is known by the storage of its weight, wherever an operator multiplies with it. Its outputs
are overwritten in the network's own forward pass, and every tensor that is computed after it is
compared with what it was: where one output makes one entry of a tensor, and the same one of the
same feature elsewhere, that tensor holds a function of the feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Curve", "Watched", "multiplied"]

Array = NDArray[np.float64]

#: Operators that multiply, and which argument may be the signal where another is the weight.
_PRODUCTS = {"mm": (0, 1), "addmm": (1, 2), "bmm": (0, 1), "baddbmm": (1, 2), "mv": (0, 1),
             "convolution": (0, 1), "_grouped_mm": (0, 1), "grouped_mm_fallback": (0, 1),
             "dot": (0, 1)}  # fmt: skip


def _name(func: Any) -> str:
    return str(func._schema.name.rpartition("::")[2])


def _key(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)


class _Mode(TorchDispatchMode):
    """Sees each operator; overwrites the outputs of one."""

    def __init__(self, weight: Any = None, use: int = 0, change: Any = None) -> None:
        super().__init__()
        self.weight = None if weight is None else _key(weight)
        self.left, self.change = use, change
        self.seen: set[int] = set()
        self.product: tuple[str, Any, tuple[Any, ...], dict[str, Any], int] | None = None
        self.out: Any = None
        self.after: list[tuple[str, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        out = func(*args, **kwargs)
        if name in _PRODUCTS:
            for place in _PRODUCTS[name]:
                if place < len(args) and isinstance(args[place], torch.Tensor):
                    self.seen.add(_key(args[place]))
                    if _key(args[place]) == self.weight and self.product is None:
                        self.left -= 1
                        if self.left < 0:
                            self.product = name, func, args, kwargs, place
                            self.out = out.clone()
                            if self.change is not None:
                                self.change(out)
                            return out
        if self.product is not None:
            for made in out if isinstance(out, list | tuple) else [out]:
                if isinstance(made, torch.Tensor) and made.is_floating_point():
                    self.after.append((name, made.clone().reshape(-1)))
        return out


def _run(module: Any, inputs: Any, mode: _Mode) -> _Mode:
    with torch.random.fork_rng(devices=[]), torch.no_grad(), mode:
        torch.manual_seed(0)
        if isinstance(inputs, torch.Tensor):
            module(inputs)
        else:
            module(**inputs)
    return mode


def multiplied(module: Any, inputs: Any) -> set[str]:
    """Return the names of the parameters that some operator multiplies with."""
    seen = _run(module, inputs, _Mode()).seen
    return {n for n, p in module.named_parameters(remove_duplicate=False) if _key(p) in seen}


@dataclass(eq=False)
class Curve:
    """A tensor that holds a function of one output feature.

    Parameters
    ----------
    index : int
        Which tensor after the map.
    operator : str
        What made it.
    entries : ndarray of int
        For each place the entry that holds the function of that place's output.
    values : ndarray, shape (points, places)
    """

    index: int
    operator: str
    entries: NDArray[np.int64]
    values: Array


class Watched:
    """One use of one weight in a network's forward pass.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : tensor or dict
    weight : tensor
        Any that shares the storage of the weight.
    use : int
        0 for the first product with it.
    places : int
        At how many places (tokens, pixels) the outputs are changed.
    """

    def __init__(
        self, module: Any, inputs: Any, weight: Any, use: int = 0, places: int = 6
    ) -> None:
        self.module, self.inputs, self.weight, self.use = module, inputs, weight, use
        base = _run(module, inputs, _Mode(weight, use))
        if base.product is None:
            raise LookupError("no operator multiplies with it")
        self.base = base
        self.name, self.func, self.args, self.kwargs, self.place = base.product
        self.places = self._places(places)

    # -- the map's weight as a matrix, its outputs by place and feature

    def matrix(self) -> Array:
        """Return the weight of the first group or stack, a row for each output."""
        weight = self.args[self.place].detach().double()
        if self.name == "convolution":
            return np.asarray(weight.reshape(len(weight), -1))
        if weight.ndim == 3:
            weight = weight[self._stack()]
        left = self.place == _PRODUCTS[self.name][0] and self.name != "convolution"
        return np.asarray(weight if left else weight.t())

    def bias(self) -> Array:
        """Return the bias that the operator adds."""
        n = len(self.matrix())
        given = self.args[0] if self.name in ("addmm", "baddbmm") else None
        if self.name == "convolution":
            given = self.args[2]
        if given is None:
            return np.zeros(n)
        if given.ndim == 3:
            given = given[self._stack()] if len(given) > 1 else given[0]
        flat = np.asarray(given.detach().double()).reshape(-1)
        return flat if len(flat) == n else np.zeros(n)

    def _stack(self) -> int:
        """Return which matrix of a stack is looked at: the first that is used."""
        if self.name.startswith(("_grouped", "grouped")):
            ends = (self.args[2] if len(self.args) > 2 else self.kwargs["offs"]).tolist()
            return int(next(k for k, e in enumerate(ends) if e > [0, *ends][k]))
        return 0

    def _at(self, place: tuple[int, ...], feature: int) -> tuple[int, ...]:
        """Return where in the operator's output a feature stands at a place."""
        if self.name == "convolution":
            return (place[0], feature, *place[1:])
        left = self.place == _PRODUCTS[self.name][0]
        if self.out.ndim == 1:
            return (feature,)
        if self.out.ndim == 2:
            return (feature, place[0]) if left else (place[0], feature)
        return (self._stack(), feature, place[0]) if left else (self._stack(), place[0], feature)

    @property
    def out(self) -> Any:
        """The operator's output, as it was."""
        return self.base.out

    def _places(self, count: int) -> list[tuple[int, ...]]:
        shape = tuple(self.out.shape)
        rng = np.random.default_rng(0)
        if self.name == "convolution":
            sizes = (shape[0], *shape[2:])
        elif self.name.startswith(("_grouped", "grouped")):
            ends = (self.args[2] if len(self.args) > 2 else self.kwargs["offs"]).tolist()
            k = self._stack()
            start = 0 if k == 0 else ends[k - 1]
            rows = np.arange(start, ends[k])
            return [(int(r),) for r in rows[:count]]
        else:
            left = self.place == _PRODUCTS[self.name][0]
            sizes = ((shape[-1] if left else shape[-2]) if len(shape) > 1 else 1,)
        total = int(np.prod(sizes))
        chosen = rng.permutation(total)[:count]
        return [tuple(int(i) for i in np.unravel_index(c, sizes)) for c in chosen]

    def _changed(self, feature: int, numbers: dict[tuple[int, ...], float]) -> list[Any]:
        """Return all tensors after the map, its outputs at some places overwritten."""

        def change(out: Any) -> None:
            for place, number in numbers.items():
                out[self._at(place, feature)] = number

        after = _run(self.module, self.inputs, _Mode(self.weight, self.use, change)).after
        if [n for n, _ in after] != [n for n, _ in self.base.after]:
            return []  # the network went another way
        return [t for _, t in after]

    # -- functions

    def curves(self, feature: int, points: Array) -> list[Curve]:
        """Return the tensors that hold a function of a feature alone, the map's own output first.

        Parameters
        ----------
        feature : int
        points : ndarray
            What its outputs are overwritten with.

        Returns
        -------
        list of Curve
        """
        own = np.array([[p] * len(self.places) for p in points])
        found = [Curve(-1, "itself", np.empty(0, np.int64), own)]
        kept = [t.double().numpy() for _, t in self.base.after]
        entries: list[list[set[int]]] = [[set() for _ in self.places] for _ in kept]
        runs = []
        for k, place in enumerate(self.places):  # one place at a time: which entries are its own
            mine = []
            for point in points:
                after = self._changed(feature, {place: float(point)})
                if not after:
                    return found
                mine.append([t.double().numpy() for t in after])
            for j, before in enumerate(kept):
                for numbers in mine:
                    if numbers[j].shape == before.shape:
                        moved = np.flatnonzero(~np.isclose(numbers[j], before, rtol=1e-9, atol=0))
                        entries[j][k].update(moved.tolist()[:64])
            runs.append(mine)
        for j, before in enumerate(kept):
            if any(len(e) != 1 for e in entries[j]):
                continue
            at = np.array([next(iter(e)) for e in entries[j]])
            values = np.array([[run[i][j][a] for run, a in zip(runs, at, strict=True)]
                               for i in range(len(points))])  # fmt: skip
            size = np.abs(values).max(initial=1e-3)
            if np.ptp(values, axis=1).max() <= 2e-5 * size and before.size:
                found.append(Curve(j, self.base.after[j][0], at, values))
        return found

    def evaluated(self, feature: int, curve: Curve, numbers: Array) -> Array:
        """Return a curve's function of any numbers, a run for as many as there are places."""
        if curve.index < 0:
            return numbers
        result = []
        for start in range(0, len(numbers), len(self.places)):
            block = numbers[start : start + len(self.places)]
            given = dict(zip(self.places, block.tolist(), strict=False))
            after = self._changed(feature, given)
            mine = after[curve.index].double().numpy()
            result.append(mine[curve.entries[: len(block)]])
        return np.concatenate(result)
