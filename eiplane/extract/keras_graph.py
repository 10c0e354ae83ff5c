"""The graph of a model of Keras 3: which operation makes each tensor, and what takes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .keras_parts import Node, kind_of, taken_apart

__all__ = ["Graph"]


@dataclass
class _Found:
    nodes: list[Node] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)


class Graph:
    """Which calls of operations make a model.

    Parameters
    ----------
    keras : module
    model : keras.Model or keras.Layer

    Attributes
    ----------
    is_hidden : bool
        Whether only running the model would show it; there is nothing else then.
    shapes : dict of int to tuple
        Of tensors.
    nodes : list of Node
        In an order in which they can be run. A model that is called in another stands for all of
        its calls: it takes a ``Join`` of what they take.
    unused : list of str
        Operations with weights that do not lead to the model's result.
    """

    def __init__(self, keras: Any, model: Any) -> None:
        self._keras = keras
        self._alias: dict[int, int] = {}
        self._keep: list[Any] = []  # ids are only good while their tensors live
        self.shapes: dict[int, tuple[Any, ...]] = {}
        self.is_hidden = False
        found = _Found()
        self._walk(model, "", found)
        if self.is_hidden:
            return
        self.results = {self._resolve(id(t)) for t in model.outputs}
        self.entries = frozenset(self._resolve(id(t)) for t in model.inputs)
        calls = [
            replace(n, inputs=tuple(map(self._resolve, n.inputs)),
                    outputs=tuple(map(self._resolve, n.outputs)))
            for n in found.nodes
        ]  # fmt: skip
        self.maker = {out: node for node in calls for out in node.outputs}
        self.nodes = self._ordered(calls)
        there = {id(node.op) for node in self.nodes}
        self.maker = {out: node for node in self.nodes for out in node.outputs}
        self.takers: dict[int, list[Node]] = {}
        for node in self.nodes:
            for i in node.inputs:
                self.takers.setdefault(i, []).append(node)
        self.unused = [n for op, n in found.named.items() if op not in there]

    def _ordered(self, calls: list[Node]) -> list[Node]:
        """Return the calls that lead to the result, each after those that it needs."""
        needed: set[int] = set()
        waiting = [self.maker[t] for t in self.results if t in self.maker]
        while waiting:
            node = waiting.pop()
            if id(node) not in needed:
                needed.add(id(node))
                waiting += [self.maker[t] for t in node.inputs if t in self.maker]
        done: dict[int, Node] = {}
        for call in calls:
            waiting = [call] if id(call) in needed else []
            while waiting:
                node = waiting[-1]
                before = (self.maker.get(t) for t in node.inputs)
                missing = [n for n in before if n is not None and id(n) not in done]
                waiting += missing
                if not missing:
                    done[id(node)] = waiting.pop()
        return list(done.values())

    def _resolve(self, tensor: int) -> int:
        while tensor in self._alias:
            tensor = self._alias[tensor]
        return tensor

    def _walk(self, model: Any, prefix: str, found: _Found) -> None:
        operations = self._operations(model)
        if operations is None:
            self.is_hidden = True
            return
        levels = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", None)
        own = None if levels is None else {id(call) for calls in levels.values() for call in calls}
        for op in operations:
            name = prefix + op.name
            calls = _calls(op, own)
            for inputs, outputs, _ in calls:
                self._keep += [*inputs, *outputs]
                self.shapes.update((id(t), tuple(t.shape)) for t in (*inputs, *outputs))
            inner = self._operations(op) if op is not model else None
            if inner is not None and hasattr(op, "inputs"):
                self._model(op, name, calls, found)
                continue
            if getattr(op, "weights", None):
                name = found.named.setdefault(id(op), name)
            for inputs, outputs, arguments in calls:
                call = Node(name, kind_of(op), op, tuple(map(id, inputs)),
                            tuple(map(id, outputs)),
                            tuple(inputs[0].shape) if inputs else (),
                            _runner(self._keras, op, inputs, arguments))  # fmt: skip
                parts = taken_apart(call, arguments, self._new)
                found.named.update((id(n.op), n.name) for n in parts if n.op is not op
                                   and getattr(n.op, "weights", None))  # fmt: skip
                if parts != [call]:
                    found.named.pop(id(op), None)
                found.nodes += parts

    def _new(self, like: int | None = None) -> int:
        """Return the id of a tensor that no operation of the model's has."""
        self._keep.append(object())
        found = id(self._keep[-1])
        if like is not None and like in self.shapes:
            self.shapes[found] = self.shapes[like]
        return found

    def _model(self, op: Any, name: str, calls: list[Any], found: _Found) -> None:
        """Put a model that is called in another in the place of its calls."""
        for k, mine in enumerate(op.inputs):
            given = tuple(id(inputs[k]) for inputs, _, _ in calls)
            if len(set(given)) == 1:
                if given[0] != id(mine):
                    self._alias[id(mine)] = given[0]
            elif given:
                found.nodes.append(Node(name, "Join", None, given, (id(mine),)))
        for _, outputs, _ in calls:
            for theirs, mine in zip(outputs, op.outputs, strict=True):
                if mine is not theirs:
                    self._alias[id(theirs)] = id(mine)
        self._walk(op, name + "/", found)

    def _operations(self, model: Any) -> list[Any] | None:
        keras = self._keras
        if isinstance(model, keras.Model) and kind_of(model).startswith("own"):
            return None  # a call of its own: what it does with its layers is not known
        if isinstance(model, keras.Sequential):
            return list(model.layers)
        if isinstance(model, keras.Model):
            operations = getattr(model, "operations", None)
            return list(operations) if operations else None
        return None


def _calls(op: Any, own: Any) -> list[tuple[list[Any], list[Any], Any]]:
    """Return what a model calls an operation with, and what it gives, each time."""
    calls = getattr(op, "_inbound_nodes", None)
    if calls is not None and own is not None:
        return [(_flat(c.input_tensors), _flat(c.output_tensors), c.arguments)
                for c in calls if id(c) in own]  # fmt: skip
    try:
        return [(_flat(op.input), _flat(op.output), None)]
    except (AttributeError, ValueError):
        return []


@contextlib.contextmanager
def _in_double(keras: Any, op: Any) -> Iterator[None]:
    """Let a layer compute in double precision: it may round what it gives to its own."""
    before: Any = getattr(op, "dtype_policy", None)
    if before is None or before.__class__ is not keras.DTypePolicy:
        yield
        return
    op.dtype_policy = keras.DTypePolicy("float64")
    try:
        yield
    finally:
        op.dtype_policy = before


def _runner(
    keras: Any, op: Any, inputs: list[Any], arguments: Any
) -> Callable[[list[Any]], list[Any]] | None:
    """Return what calls an operation as the model does, on other tensors; None while training."""
    told = getattr(arguments, "kwargs", {})
    if told.get("training"):
        return None
    names = [id(t) for t in inputs]

    def run(tensors: list[Any]) -> list[Any]:
        args, kwargs = tuple(tensors), {}
        if arguments is not None:
            given = dict(zip(names, tensors, strict=True))
            args, kwargs = keras.tree.map_structure(
                lambda v: given.get(id(v), v), (arguments.args, told)
            )
        with _in_double(keras, op):
            return _flat(op.call(*args, **kwargs))

    return run


def _flat(tensors: Any) -> list[Any]:
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    if isinstance(tensors, list | tuple):
        return [t for part in tensors for t in _flat(part)]
    return [tensors]
