"""Groups of neurons as the macro units of a layer: :func:`eiplane.macro_units`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import pairwise
from ..files import json_text
from ..joint import JointOptions, between, channel_of, checked_memory
from ..network import Channel
from ..results import Joint
from ..results import between as between_text
from ..run import (
    Progress,
    Runner,
    Sampling,
    Settings,
    checked_threads,
    entropy_of,
    progress_bar,
)
from .partitions import Groups, Labels, checked_groups, groups_of, partitions
from .search import linkage

__all__ = ["MacroUnit", "MacroUnits", "macro_units"]

Array = NDArray[np.float64]
Neurons = tuple[int, ...]

SEARCHES = ("auto", "exhaustive", "greedy", "spectral")

#: Neurons up to which "auto" is greedy as well, and of an exhaustive search at most.
_GREEDY, _EXHAUSTED = 24, 8

#: How many standard errors better a partition must be.
_SURE = 2.0


@dataclass(frozen=True, eq=False)
class MacroUnit:
    """A group of inputs and outputs of a layer that is taken for one unit; in bits.

    Parameters
    ----------
    inputs, outputs : tuple of int
        Places of the neurons.
    joint : Joint or None
        What :func:`eiplane.ei_between` finds between them; None where either is empty.
    ei_parts : float
        Sum of the EI of the edges inside the group.
    capacity : float
        ``log2`` of the number of states of the group's inputs.
    """

    inputs: Neurons
    outputs: Neurons
    joint: Joint | None
    ei_parts: float
    capacity: float

    @property
    def ei(self) -> float | None:
        """``I(X_G; Y_G)`` under ``do(L1 = Hmax)``; 0 where either is empty.

        None where no more is known than the bounds, ``joint.ei_bounds``.
        """
        return 0.0 if self.joint is None else self.joint.ei

    @property
    def ei_stderr(self) -> float | None:
        """Standard error of :attr:`ei`; None with it."""
        return 0.0 if self.joint is None else self.joint.ei_stderr

    @property
    def phi(self) -> float | None:
        """Integrated information of the group, ``ei - ei_parts``; exactly 0 of a single edge."""
        if len(self.inputs) == len(self.outputs) == 1:
            return 0.0
        return None if self.ei is None else self.ei - self.ei_parts

    @property
    def effectiveness(self) -> float | None:
        """``ei / capacity``; 0 without inputs."""
        if self.ei is None:
            return None
        return self.ei / self.capacity if self.capacity else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python numbers and lists."""
        numbers = ("ei", "ei_stderr", "ei_parts", "phi", "effectiveness")
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            **{name: getattr(self, name) for name in numbers},
        }


@dataclass(frozen=True, eq=False)
class MacroUnits(Sequence[MacroUnit]):
    """The macro units of a layer: a sequence of :class:`.MacroUnit`; in bits.

    Parameters
    ----------
    name : str
        Of the layer.
    units : tuple of MacroUnit
        Each neuron is in one of them.
    search : str
        What found them.
    """

    name: str
    units: tuple[MacroUnit, ...]
    search: str

    def __len__(self) -> int:
        return len(self.units)

    @overload
    def __getitem__(self, key: int) -> MacroUnit: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[MacroUnit, ...]: ...

    def __getitem__(self, key: int | slice) -> MacroUnit | tuple[MacroUnit, ...]:
        return self.units[key]

    def __iter__(self) -> Iterator[MacroUnit]:
        return iter(self.units)

    @property
    def phi(self) -> float | None:
        """Sum over the units: what the partition was chosen by. None where any is not known."""
        known = [unit.phi for unit in self.units if unit.phi is not None]
        return sum(known) if len(known) == len(self.units) else None

    @property
    def phi_stderr(self) -> float | None:
        """Standard error of :attr:`phi`, the units taken for independent."""
        if self.phi is None:
            return None
        return math.hypot(*(unit.ei_stderr or 0.0 for unit in self.units))

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "units_of": "bits",
            "name": self.name,
            "search": self.search,
            "phi": self.phi,
            "phi_stderr": self.phi_stderr,
            "units": [unit.to_dict() for unit in self.units],
        }

    def to_json(self) -> str:
        """Return the JSON text."""
        return json_text(self.to_dict())

    def __str__(self) -> str:
        head = ["inputs", "outputs", "EI", "EI_parts", "phi", "effectiveness"]
        rows = [
            [
                " ".join(map(str, unit.inputs)) or "-",
                " ".join(map(str, unit.outputs)) or "-",
                _text(unit),
                *(
                    "-" if v is None else f"{v:.4g}"
                    for v in (unit.ei_parts, unit.phi, unit.effectiveness)
                ),
            ]
            for unit in self.units
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        body = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, ["-" * w for w in widths], *rows]
        ]
        return "\n".join([*body, f"{self.name}: {self.search} search"])


def _text(unit: MacroUnit) -> str:
    """Return what is known of the EI of a unit."""
    if unit.ei is not None:
        return f"{unit.ei:.4g}" + (f" ± {unit.ei_stderr:.1g}" if unit.ei_stderr else "")
    return "-" if unit.joint is None else between_text(*unit.joint.ei_bounds)


def macro_units(
    layer: Any,
    *,
    search: str | Sequence[Sequence[int]] = "auto",
    tied: bool = False,
    activation: Any = None,
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    out_range: Any = "auto",
    outliers: str = "clip",
    samples: int | None = None,
    tol: float | None = None,
    estimator: str = "auto",
    memory_limit: int | None = None,
    rng: int | np.random.Generator | np.random.SeedSequence | None = 0,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> MacroUnits:
    """Find the groups of a layer's neurons that are more than their parts.

    A macro unit is a group G of inputs and outputs. Its EI is ``I(X_G; Y_G)``, all other inputs
    perturbed as noise (:func:`eiplane.ei_between`); its integrated information is that less the EI
    of the edges inside. The partition of all neurons is sought whose units have the greatest
    integrated information together. One group of all neurons has the layer's phi; smaller groups
    have more where synergy is inside them and redundancy between them. Of partitions with as much
    the one with more EI is taken, and of those the finest, so what does not interact stays apart.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
    search : {"auto", "exhaustive", "greedy", "spectral"}, or sequence of groups
        ``"spectral"`` clusters the neurons by the singular vectors of the EI of the edges, at every
        number of groups; ``"greedy"`` merges the two groups that are best merged; ``"exhaustive"``
        goes through all partitions, of 8 neurons at most. ``"auto"`` is spectral, and greedy as
        well up to 24 neurons. A partition has to be better by two standard errors. Groups of places
        are measured as they are, outputs counted after the inputs: of a 3→2 layer 0, 1, 2 are the
        inputs and 3, 4 the outputs.
    tied : bool
        Whether input i and output i are one neuron, of which both go together: the state of a
        recurrent layer. Groups are then of those.
    activation, bins, in_range, out_range, outliers, samples, tol, estimator, memory_limit, rng, \
threads, executor, progress
        As in :func:`eiplane.ei_between`.

    Returns
    -------
    MacroUnits

    Raises
    ------
    TypeError, ValueError
        For bad input.

    Examples
    --------
    Output 0 is on if both of the inputs 0 and 1 are, output 1 copies input 2.

    >>> import numpy as np, eiplane
    >>> both = eiplane.Layer([[20.0, 20, 0], [0, 0, 20]], [-30.0, -10])
    >>> for unit in eiplane.macro_units(both, bins=2):
    ...     print(unit.inputs, unit.outputs, round(unit.phi, 2))
    (0, 1) (0,) 0.02
    (2,) (1,) 0.0
    """
    settings = Settings(
        "ei", bins=bins, in_range=in_range, out_range=out_range, outliers=outliers,
        samples=samples, tol=tol, estimator=estimator,
    )  # fmt: skip
    workers = checked_threads(threads, executor)
    channel = channel_of(layer, activation, settings)
    if channel.groups > 1:
        raise ValueError(f"layer {channel.name!r}: macro units are not for grouped layers")
    n_in, n_out = channel.n_in, channel.n_out
    if tied and n_in != n_out:
        raise ValueError(f"tied neurons need as many outputs as inputs, got {n_in}→{n_out}")
    count = n_in if tied else n_in + n_out
    given = None if isinstance(search, str) else checked_groups(search, count, "neuron")
    if given is None and search not in SEARCHES:
        raise ValueError(f"search is {', '.join(map(repr, SEARCHES))}, or groups; got {search!r}")
    if search == "exhaustive" and count > _EXHAUSTED:
        raise ValueError(
            f"an exhaustive search goes up to {_EXHAUSTED} neurons, and there are {count}; "
            "search='greedy' or 'spectral' would do"
        )
    options = JointOptions(settings.estimator, checked_memory(memory_limit), influence=False)
    sampling = Sampling(entropy_of(rng), samples=settings.samples, tol=settings.tol)
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        edges = pairwise.measure("ei_parts", channel, "auto", sampling, runner).edges
        book = _Book(channel, edges, tied, lambda p: between(channel, p, sampling, options, runner))
        if given is not None:
            return MacroUnits(channel.name, book.units(given), "given")
        return book.searched(str(search))


@dataclass(eq=False)
class _Book:
    """Remembers what groups are worth, so that none is measured twice."""

    channel: Channel
    edges: Array
    tied: bool
    measure: Any
    known: dict[tuple[Neurons, Neurons], Joint] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of neurons that are put in groups."""
        return self.channel.n_in if self.tied else self.channel.n_in + self.channel.n_out

    def split(self, group: Iterable[int]) -> tuple[Neurons, Neurons]:
        """Return the inputs and the outputs of a group."""
        places, n_in = sorted(group), self.channel.n_in
        if self.tied:
            return tuple(places), tuple(places)
        return tuple(p for p in places if p < n_in), tuple(p - n_in for p in places if p >= n_in)

    def learn(self, groups: Iterable[Iterable[int]]) -> None:
        """Measure those of the groups that are not known, together."""
        pairs = dict.fromkeys(self.split(group) for group in groups)
        new = [(a, b) for a, b in pairs if a and b and (a, b) not in self.known]
        if new:
            self.known.update(zip(new, self.measure(new), strict=True))

    def unit(self, group: Iterable[int]) -> MacroUnit:
        """Return a group as a unit."""
        inputs, outputs = self.split(group)
        parts = float(self.edges[np.ix_(outputs, inputs)].sum())
        capacity = len(inputs) * math.log2(self.channel.in_bins)
        return MacroUnit(inputs, outputs, self.known.get((inputs, outputs)), parts, capacity)

    def units(self, groups: Groups) -> tuple[MacroUnit, ...]:
        """Return all groups as units, measured."""
        self.learn(groups)
        return tuple(self.unit(group) for group in groups)

    def better(self, one: Groups, other: Groups) -> bool:
        """Whether the other partition has more integrated information, or as much and more EI."""
        phi = ei = error = 0.0
        for sign, mine, theirs in ((-1.0, one, other), (1.0, other, one)):
            for group in set(mine) - set(theirs):
                unit = self.unit(group)
                if unit.phi is None or unit.ei is None:  # nothing is better for want of knowledge
                    return False
                phi, ei = phi + sign * unit.phi, ei + sign * unit.ei
                error = math.hypot(error, unit.ei_stderr or 0.0)
        least = _SURE * error + 1e-9
        return phi > least or (phi > -1e-9 and ei > least)

    def searched(self, how: str) -> MacroUnits:
        """Return the best partition of a search."""
        names = [how]
        if how == "auto":
            names = ["spectral", "greedy"] if self.count <= _GREEDY else ["spectral"]
        best: Groups = tuple((i,) for i in range(self.count))
        found = names[0]
        walks = {"spectral": self.spectral, "greedy": self.greedy, "exhaustive": self.exhaustive}
        self.learn(best)
        for name in names:
            for groups in walks[name]():
                if self.better(best, groups):
                    best, found = groups, name
        return MacroUnits(self.channel.name, self.units(best), found)

    def exhaustive(self) -> Iterator[Groups]:
        """Go through all partitions, the finest first."""
        every = sorted(map(groups_of, partitions(self.count)), key=len, reverse=True)
        self.learn(group for groups in every for group in groups)
        yield from every

    def spectral(self) -> Iterator[Groups]:
        """Cluster the neurons by the singular vectors of the edges, the finest partition first.

        Edges are divided by the roots of what their two neurons have in all, as for co-clustering
        documents and words (I. Dhillon, KDD 2001).
        """
        edges = np.maximum(self.edges, 0.0)
        if self.tied:
            edges = edges + edges.T
        rows, columns = (_inverse_root(edges.sum(axis=k)) for k in (1, 0))
        left, values, right = np.linalg.svd(edges * rows * columns.T, full_matrices=False)
        left, right = left * rows, right.T * columns
        seen: set[Groups] = set()
        for rank in sorted({min(2**k, len(values)) for k in range(8)}):
            # Vectors of equal values are turned by rounding at will: all of them, or none.
            rank = int((values > values[rank - 1] - 1e-9).sum())
            place = left[:, :rank] * values[:rank]
            if not self.tied:
                place = np.vstack([right[:, :rank] * values[:rank], place])
            labels: Labels = np.arange(self.count)
            walk = []
            for a, b in linkage(place):
                labels = np.where(labels == b, a, labels)
                walk.append(groups_of(labels))
            self.learn(group for groups in walk for group in groups)
            for groups in walk:
                if groups not in seen:
                    seen.add(groups)
                    yield groups

    def greedy(self) -> Iterator[Groups]:
        """Merge the two groups that are best merged, until one is left.

        Where no merging gains anything yet, as of two single neurons, the strongest edges decide.
        """
        groups: Groups = tuple((i,) for i in range(self.count))
        while len(groups) > 1:
            pairs = [(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
            self.learn(a + b for a, b in pairs)
            one, two = max(pairs, key=lambda pair: self._promise(*pair))
            merged = tuple(sorted(one + two))
            groups = tuple(sorted([*(g for g in groups if g not in (one, two)), merged]))
            yield groups

    def _promise(self, a: Neurons, b: Neurons) -> tuple[float, float]:
        """Return the sure gain of merging two groups, and the EI of the edges between them."""
        one, two, both = self.unit(a), self.unit(b), self.unit(a + b)
        error = math.hypot(*(unit.ei_stderr or 0.0 for unit in (both, one, two)))
        gain = -math.inf
        if both.phi is not None and one.phi is not None and two.phi is not None:
            gain = both.phi - one.phi - two.phi - _SURE * error
        return round(gain, 6), both.ei_parts - one.ei_parts - two.ei_parts


def _inverse_root(sums: Array) -> Array:
    """Return a column of one over the roots; 0 of those neurons that have no edge."""
    return np.where(sums > 0, 1.0 / np.sqrt(np.where(sums > 0, sums, 1.0)), 0.0)[:, None]
