"""What follows a linear map in a model of Keras: its function, by running the operations there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Activation, get_activation, per_row
from .keras_graph import Graph
from .keras_parts import Node
from .keras_sheets import POINTS, Bench, Sheet, near
from .keras_ways import Way, affine, recognised

__all__ = ["After", "Found"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Found:
    """The function of some of a linear map's outputs, ``f(a z + b)``.

    Parameters
    ----------
    rows : ndarray of int
        Which.
    activation : Activation or None
        f; None if it is not known.
    scale, shift : ndarray of float64, shape (rows,)
        a and b.
    tensors : tuple of int
        Those that hold the values.
    shares : tuple of float
        The part of each of those tensors' entries that are such values.
    straight : tuple of bool
        Whether each holds just the map's outputs, in their order.
    reason : str
        Why the function is not known.
    """

    rows: NDArray[np.intp]
    activation: Activation | None
    scale: Array
    shift: Array
    tensors: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    straight: tuple[bool, ...] = ()
    reason: str = ""


@dataclass
class _Region:
    """The tensors that are functions of one alone, and where they are used by others."""

    sheets: dict[int, Sheet]
    nodes: list[Node] = field(default_factory=list)
    exits: list[tuple[int, Node | None]] = field(default_factory=list)
    beside: dict[int, Array] = field(default_factory=dict)  # in the place of other tensors


class After:
    """What follows the tensors of a graph.

    Parameters
    ----------
    keras : module
    graph : Graph
    ends : collection of str
        Kinds of operations that take a linear layer's outputs as they are.
    stop : callable
        Returns whether an operation is a layer of its own, which is not run.
    """

    def __init__(
        self, keras: Any, graph: Graph, ends: frozenset[str], stop: Callable[[Node], bool]
    ) -> None:
        self._keras, self._graph = keras, graph
        self._ends, self._stop = ends, stop
        self._order = {id(node): k for k, node in enumerate(graph.nodes)}
        self._followed: set[int] = set()  # nodes that are parts of functions or moves

    def follow(
        self, tensor: int, shape: Sequence[int | None] | None, axes: tuple[int, ...], count: int
    ) -> list[Found]:
        """Return the functions of a tensor's rows that the graph goes on with.

        Parameters
        ----------
        tensor : int
        shape : sequence of int or None
            None if it is not known.
        axes : tuple of int
            Of its rows.
        count : int
            The number of rows.

        Returns
        -------
        list of Found
            One for all rows, or several where rows go different ways.
        """
        rows = np.arange(count)
        if shape is None:
            takers = self._graph.takers.get(tensor, [])
            if takers and all(t.kind in self._ends and not t.kind.startswith(_POOLS)
                              for t in takers):  # fmt: skip
                ones = np.ones(count)
                return [Found(rows, get_activation("identity"), ones, 0 * ones, (tensor,), (1.0,),
                              (True,))]  # fmt: skip
            return [_unknown(rows, "what follows it inside a layer is not known")]
        try:
            bench = Bench(self._keras, shape, axes)
        except ValueError as error:
            return [_unknown(rows, str(error))]
        region = self._region(bench, tensor)
        return [
            self._taken(region, found)
            if found.activation is not None and found.activation.kind == "identity"
            else found
            for found in self._functions(bench, tensor, region)
        ]

    # -- the region

    def _region(self, bench: Bench, tensor: int) -> _Region:
        region = _Region({tensor: bench.first()})
        todo = {id(n): n for n in self._graph.takers.get(tensor, [])}
        while todo:
            node = todo.pop(min(todo, key=self._order.__getitem__))
            made = self._made(bench, node, region)
            if made is None:
                region.exits += [(i, node) for i in dict.fromkeys(node.inputs)
                                 if i in region.sheets]  # fmt: skip
                continue
            region.nodes.append(node)
            self._followed.add(id(node))
            for out, sheet in zip(node.outputs, made, strict=True):
                region.sheets[out] = sheet
                todo.update((id(n), n) for n in self._graph.takers.get(out, []))
        region.exits += [(t, None) for t in region.sheets if t in self._graph.results]
        return region

    def _made(self, bench: Bench, node: Node, region: _Region) -> list[Sheet] | None:
        if node.run is None or self._stop(node):
            return None
        given: list[Any] = []
        for i in node.inputs:
            if i in region.sheets:
                given.append(region.sheets[i])
            elif node.kind in ("Concatenate", "Stack"):
                known = next(s for j, s in region.sheets.items() if j in node.inputs)
                region.beside[i] = self._beside(i, known.codes.shape)
                given.append(region.beside[i])
            else:
                return None
        return bench.applied(bench.runner(node), given)

    def _beside(self, tensor: int, like: tuple[int, ...]) -> Array:
        """Return zeros in the place of a tensor, of the batch that another has."""
        sizes = self._graph.shapes.get(tensor, ())[1:]
        return np.zeros((like[0], *(3 if n is None else n for n in sizes)))

    # -- the function

    def _functions(self, bench: Bench, tensor: int, region: _Region) -> list[Found]:
        every = np.arange(bench.count)
        tables: dict[int, tuple[Array, NDArray[np.bool_]]] = {}
        for t in dict.fromkeys(t for t, _ in region.exits):
            table = bench.function(region.sheets[t])
            if table is None:
                return [_unknown(every, "what follows it is no function of one entry")]
            tables[t] = table, bench.seen(region.sheets[t])
        plain = {t: pair for t, pair in tables.items() if _is_identity(*pair)}
        tables = plain or tables  # what else is made of it is made of the layer's values
        ways: dict[tuple[int, ...], list[int]] = {}
        for r in every.tolist():
            ways.setdefault(tuple(t for t, (_, seen) in tables.items() if seen[r]), []).append(r)
        found = []
        for tensors, members in ways.items():
            rows = np.array(members)
            if not tensors:
                reason = "its output does not lead to the model's result"
                found.append(_unknown(rows, reason))
                continue
            whole = tables[tensors[0]][0][rows]
            if all(near(tables[t][0][rows], whole) for t in tensors):
                made = self._named(bench, tensor, region, rows, whole, tensors)
            else:
                made = _unknown(rows, "its output is used in several ways")
            found.append(self._placed(bench, region, made))
        return found

    def _placed(self, bench: Bench, region: _Region, found: Found) -> Found:
        """Return a function with what is said of the tensors that hold its values."""
        shares, straight = [], []
        tensors = found.tensors
        if found.activation is not None:  # where it stands alone before others join it
            whole = bench.function(region.sheets[tensors[0]]) if tensors else None
            tensors += tuple(
                t
                for t, sheet in region.sheets.items()
                if t not in tensors
                and whole is not None
                and self._holds(bench, sheet, found, whole)
            )
        for t in tensors:
            codes = region.sheets[t].codes.reshape(-1)
            rows = np.where(codes < 0, -1, bench.rows.reshape(-1)[codes])
            shares.append(float(np.isin(rows, found.rows).mean()))
            straight.append(np.array_equal(codes, np.arange(bench.rows.size)))
        return replace(found, tensors=tensors, shares=tuple(shares), straight=tuple(straight))

    def _holds(self, bench: Bench, sheet: Sheet, found: Found, whole: Array) -> bool:
        """Return whether a tensor holds the values of a function, and nothing else."""
        codes = sheet.codes.reshape(-1)
        if (codes < 0).any():
            return False
        rows = bench.rows.reshape(-1)[codes]
        points = bench.probes[0][codes]
        return bool(np.isin(rows, found.rows).all()) and near(
            sheet.values[0].reshape(-1), whole[rows, points]
        )

    def _named(
        self, bench: Bench, tensor: int, region: _Region, rows: NDArray[np.intp], whole: Array,
        ends: tuple[int, ...],
    ) -> Found:  # fmt: skip
        ones, zeros = np.ones(len(rows)), np.zeros(len(rows))
        line = affine(whole)
        if line is not None:
            return Found(rows, get_activation("identity"), *line, ends)
        if bool((whole == whole[:, :1]).all()):
            return _unknown(rows, "what follows makes a constant of it")
        found = recognised(whole)
        if found is not None:
            return Found(rows, found[0], ones * found[1], zeros, ends)
        folded = self._folded(bench, tensor, region, rows, ends)
        return folded or self._own(bench, tensor, region, rows, whole, ends)

    def _folded(
        self, bench: Bench, tensor: int, region: _Region, rows: NDArray[np.intp],
        ends: tuple[int, ...],
    ) -> Found | None:  # fmt: skip
        """Return a known function of an affine function of each row, if it is one."""
        at, scale, shift = tensor, np.ones(len(rows)), np.zeros(len(rows))
        while True:
            takers = self._graph.takers.get(at, [])
            if len(takers) != 1 or takers[0] not in region.nodes or at in self._graph.results:
                break
            if set(takers[0].inputs) != {at} or len(takers[0].outputs) != 1:
                break
            (after,) = takers[0].outputs
            table = bench.function(region.sheets[after])
            line = None if table is None else affine(table[rows])
            if line is None:
                break
            at, (scale, shift) = after, line
        if at == tensor:
            return None
        codes = region.sheets[at].codes
        of = np.where(codes < 0, -1, bench.rows.reshape(-1)[codes])
        inner = Bench(self._keras, (), rows=of)
        rest = self._region(inner, at)
        found = None
        for t in ends:
            table = inner.function(rest.sheets[t]) if t in rest.sheets else None
            found = None if table is None else recognised(table[rows])
            if found is None:
                return None
        if found is None:
            return None
        return Found(rows, found[0], scale * found[1], shift * found[1], ends)

    def _own(
        self, bench: Bench, tensor: int, region: _Region, rows: NDArray[np.intp], whole: Array,
        ends: tuple[int, ...],
    ) -> Found:  # fmt: skip
        kinds = [n.title for n in region.nodes if not _is_move(n, region)]
        name = ", ".join(dict.fromkeys(kinds)) or "function"
        one = near(whole, np.broadcast_to(whole[:1], whole.shape))
        made: dict[bytes, Activation] = {}
        functions: list[Activation] = []
        try:
            for k in range(1 if one else len(rows)):
                key = whole[k].tobytes()
                if key not in made:
                    sheet = region.sheets[ends[0]]
                    way = Way(self._keras, bench, region.nodes, region.beside,
                              (tensor, ends[0]), sheet.codes, int(rows[k]))  # fmt: skip
                    made[key] = Activation.from_function(way, name)
                    made[key].check(-8.0, 8.0)
                functions.append(made[key])
        except (TypeError, ValueError) as error:
            return _unknown(rows, f"its output goes through {name}: {error}")
        function = functions[0] if one else per_row(functions, f"{name} by row")
        return Found(rows, function, np.ones(len(rows)), np.zeros(len(rows)), ends)

    # -- what takes it

    def _taken(self, region: _Region, found: Found) -> Found:
        """Return a linear layer's function, by what takes its output."""
        for t, node in region.exits:
            if t not in found.tensors or node is None:
                continue
            if node.kind not in self._ends:
                return _unknown(found.rows, f"its output goes through {node.title}, "
                                            "which is not known")  # fmt: skip
            if not node.kind.startswith(_POOLS):
                continue
            (after,) = node.outputs
            axis = 1 if getattr(node.op, "data_format", "") == "channels_first" else -1
            shape = self._graph.shapes[after]
            rest = self.follow(after, shape, (axis,), int(shape[axis] or 1))
            if all(r.activation is not None and r.activation.kind == "identity" for r in rest):
                continue
            only = len(region.exits) == 1 and len(rest) == 1 and "Max" in node.kind
            if only and len(rest[0].rows) == len(found.rows) and _grows(rest[0]):
                # What grows may as well be taken before the greatest is.
                behind = rest[0]
                if (found.scale > 0).all():
                    return replace(
                        behind, scale=found.scale * behind.scale,
                        shift=found.shift * behind.scale + behind.shift,
                        straight=tuple(False for _ in behind.tensors),
                    )  # fmt: skip
            return _unknown(found.rows, f"a function follows its {node.title}")
        return found

    def explains(self, node: Node) -> bool:
        """Return whether an operation is known to be a move, or a function of each entry."""
        if id(node) in self._followed:
            return True
        return all(self.step(node, k) is not None for k in range(len(node.outputs)))

    def step(self, node: Node, output: int) -> str | tuple[Array, Array] | Activation | None:
        """Return what an operation does to every entry of the one tensor that it takes.

        Parameters
        ----------
        node : Node
        output : int
            Which of its outputs.

        Returns
        -------
        str, tuple of two ndarray, Activation or None
            ``"move"``; scale and shift; a function; None if it is more than that.
        """
        if node.run is None or self._stop(node) or len(set(node.inputs)) != 1:
            return None
        sizes = [1 if n is None else n for n in node.shape[1:]]
        try:
            by_entry = int(np.prod(sizes, dtype=np.int64)) <= _ENTRIES
            bench = Bench(self._keras, node.shape, () if by_entry else (-1,))
        except ValueError:
            return None
        first = bench.first()
        made = bench.applied(bench.runner(node), [first for _ in node.inputs])
        if made is None or len(made) <= output:
            return None
        table, seen = bench.function(made[output]), bench.seen(made[output])
        if table is None or not seen.any():
            return None
        table = table[seen]
        if near(table, np.broadcast_to(POINTS, table.shape)):
            return "move"
        line = affine(table)
        if line is not None:
            return line
        found = recognised(table[:1])
        if found is None or not near(table, np.broadcast_to(table[:1], table.shape)):
            return None
        return found[0] if np.all(found[1] == 1.0) else None


#: Entries of a tensor that are looked at one by one, at most; of larger ones by their last axis.
_ENTRIES = 4096

#: What takes several entries of a row together; a function behind that is not the layer's.
_POOLS = ("MaxPool", "AveragePool", "GlobalMax", "GlobalAverage", "UpSampling", "AdaptiveAverage",
          "AdaptiveMax")  # fmt: skip


def _is_identity(table: Array, seen: NDArray[np.bool_]) -> bool:
    return bool(seen.all()) and near(table, np.broadcast_to(POINTS, table.shape))


def _is_move(node: Node, region: _Region) -> bool:
    given = [region.sheets[i] for i in node.inputs if i in region.sheets]
    outs = [region.sheets[o] for o in node.outputs]
    return all(set(np.unique(o.values[0])) <= {0.0, *np.unique(given[0].values[0])} for o in outs)


def _grows(found: Found) -> bool:
    """Return whether a function of every row is nowhere falling."""
    if found.activation is None:
        return False
    z = np.sort(POINTS)[:, None] * found.scale + found.shift
    return bool((np.diff(found.activation(z), axis=0) >= 0).all())


def _unknown(rows: NDArray[np.intp], reason: str) -> Found:
    return Found(rows, None, np.ones(len(rows)), np.zeros(len(rows)), reason=reason)
