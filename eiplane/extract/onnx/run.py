"""One run of an ONNX graph, every node of it followed."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Known, Network, NetworkInput, RangeRule, Unknown
from ...results import Skipped
from ..flow import Codes, Flow, Operand
from ..flow.finish import finished
from ..flow.observed import NotFiniteError
from ..flow.unused import unused
from .call import Call, Tensor, is_float
from .handlers import HANDLERS, is_known, use_of
from .mixes import RANDOM, reason_of
from .program import CannotRunError, Program, inner_graphs, outer_names
from .rewrites import REWRITES

__all__ = ["Run"]

Scope = MutableMapping[str, Tensor]

#: Ends of names that a matrix has for being one.
_ENDS = (".weight", "_weight", ".weight_Transposed_quantized", ".weight_quantized", "_quantized",
         ".kernel")  # fmt: skip

#: Rewritten nodes are of this version at least.
_OPSET = 17


class Run:
    """One run of a graph, followed.

    Parameters
    ----------
    program : Program
    flow : Flow, optional
        What the run is reported to.
    """

    def __init__(self, program: Program, flow: Flow | None = None) -> None:
        self.program = program
        self.flow = Flow() if flow is None else flow
        self.covered: frozenset[str] = frozenset()
        self.opset = program.opset
        self.still = False  # a map of a constant is followed
        self._inside = 0  # of how many nodes that stand for others
        self._unnamed = 0
        self._used: dict[str, set[str]] = {}
        self._weights: dict[str, Tensor] = {}
        self._sizes: dict[str, int] = {}
        self._handed: dict[str, Tensor] = {}
        self._rng = np.random.default_rng(0)

    # -- running

    def follow(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Run the graph and follow it.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            All of the graph's inputs.
        """
        graph, scope = self.program.graph, dict(self.program.initializers)
        for name, value in inputs.items():
            rule = NetworkInput if is_float(value.dtype) else Unknown
            scope[name] = Tensor(value, self.flow.begin("input", value.shape, rule))
        self._weights.update(self.program.initializers)
        self._sizes = self.program.sizes(inputs)
        self._nodes(self.program.nodes, scope, self._last_uses(graph))
        for entry in graph.output:
            tensor = scope.get(entry.name)
            if tensor is None:
                raise ValueError(f"nothing makes the output {entry.name!r}")
            if tensor.lost:
                continue
            for operand in Call(None, 0, {}, [tensor]).signals():
                self.flow.use(operand, None)

    def _last_uses(self, graph: Any) -> dict[int, list[str]]:
        """Return what no later node takes, by the number of the node that took it last."""
        last: dict[str, int] = {}
        for k, node in enumerate(self.program.nodes):
            for name in self._taken(node):
                last[name] = k
        kept = {entry.name for entry in graph.output}
        found: dict[int, list[str]] = {}
        for name, k in last.items():
            if name not in kept and name not in self.program.initializers:
                found.setdefault(k, []).append(name)
        return found

    @staticmethod
    def _taken(node: Any) -> list[str]:
        return [*(n for n in node.input if n), *(n for g in inner_graphs(node)
                                                 for n in outer_names(g))]  # fmt: skip

    def _nodes(
        self, nodes: Iterable[Any], scope: Scope, last: Mapping[int, list[str]] | None = None
    ) -> None:
        for k, node in enumerate(nodes):
            try:
                self._node(node, k, scope)
            except (MemoryError, NotFiniteError, _NodeError):
                raise
            except Exception as error:
                said = " ".join(str(error).split()) or type(error).__name__
                name = node.name or next(iter(node.output), "")
                raise _NodeError(f"node {name!r} ({node.op_type}): {said}") from error
            for name in (last or {}).get(k, ()):
                scope.pop(name, None)

    def _node(self, node: Any, index: int, scope: Scope) -> None:
        kept = self.program.kept
        if node.output and node.output[0] in kept:
            scope.update((n, kept[n]) for n in node.output if n)
            return
        inside = [n for g in inner_graphs(node) for n in outer_names(g)]
        names = [*node.input, *(n for n in dict.fromkeys(inside) if n not in node.input)]
        for name in names:
            if name and name not in scope:
                raise ValueError(f"it takes {name!r}, which nothing makes")
        tensors = [scope[n] if n else None for n in names]
        call = Call(node, index, self.program.attributes(node), tensors[: len(node.input)])
        lost = next((t.lost for t in tensors if t is not None and t.lost), "")
        if lost:
            self._lose(call, tensors, lost, scope)
            return
        if node.op_type == "If" and not call.dynamic(0):
            self._branch(call, scope)
            return
        dynamic = any(t is not None and t.codes is not None for t in tensors)
        if not dynamic and self._begins(call):
            dynamic = True
        if self._rewritten(call, scope, dynamic):
            return
        if dynamic or node.op_type in RANDOM:
            try:
                results = self._followed(call, names, tensors)
            except _LostError as error:
                self._lose(call, tensors, str(error), scope)
                return
            self.still = False
        else:
            results = self._constant(call, names, tensors)
        for name, result in zip(node.output, results, strict=True):
            if name and result is not None:
                scope[name] = result

    def compute(self, node: Any, values: Sequence[Any]) -> list[Any]:
        """Return what a node makes of other values; of outputs that are left out nothing."""
        made = self.program.compute(node, list(node.input), values, self.opset)
        return [m for m, name in zip(made, node.output, strict=True) if name]

    def _constant(
        self, call: Call, names: list[str], tensors: list[Tensor | None]
    ) -> list[Tensor | None]:
        values = [None if t is None else t.value for t in tensors]
        there = [t for t in tensors if t is not None]
        made: frozenset[str] = frozenset().union(*(t.names for t in there))
        fixed = all(t.fixed for t in there) and call.kind not in RANDOM
        if call.kind in ("Gemm", "MatMul", "Conv"):
            self._mark(there, "constant")
        elif call.kind in ("Gather", "GatherElements", "GatherND") and call.has(0):
            self._mark([call.tensor(0)], "an embedding: rows are looked up, nothing is multiplied")
        found = self.program.compute(call.node, names, values, self.opset)
        results = [None if v is None else Tensor(v, None, made, fixed) for v in found]
        if fixed and not self._inside:
            given = zip(call.node.output, results, strict=True)
            self.program.kept.update((n, r) for n, r in given if n and r is not None)
        return results

    def _followed(
        self, call: Call, names: list[str], tensors: list[Tensor | None]
    ) -> list[Tensor | None]:
        values = [None if t is None else t.value for t in tensors]
        try:
            call.outs = self.program.compute(call.node, names, values, self.opset)
        except CannotRunError as error:
            own = "" if "is unknown" in str(error) else f" ({error})"  # by its name it is told
            call.outs = self._invented(call, own)
        if call.kind in RANDOM and not any(t is not None and t.codes is not None for t in tensors):
            codes: Any = self._random(call)
        elif call.kind == "Shape":
            return [None if v is None else Tensor(v) for v in call.outs]
        else:
            self._mark([t for t in (*call.inputs, *tensors[len(call.inputs) :]) if t is not None],
                       use_of(call.kind))  # fmt: skip
            handler = HANDLERS.get(call.kind) if is_known(call.node.domain, call.kind) else None
            codes = NotImplemented if handler is None else handler(self, call)
            if codes is NotImplemented:
                call.inputs = tensors
                codes = self.unknown(call)
        several = codes if isinstance(codes, list) and not _is_sequence(call) else [codes]
        several = [*several, *[None] * (len(call.outs) - len(several))]
        whole = iter(several)
        if len([s for s in several if s is not None]) > sum(v is not None for v in call.outs):
            raise AssertionError("more codes than outputs")
        placed = [next(whole) for _ in call.outs]
        return [None if v is None else Tensor(v, c) for v, c in zip(call.outs, placed, strict=True)]

    def _invented(self, call: Call, why: str) -> list[Any]:
        """Return numbers of the declared shapes where nothing computes a node."""
        made: list[Any] = []
        for name in call.node.output:
            found = self.program.declared(name, self._sizes) if name else None
            if name and found is None:
                raise _LostError(
                    f"{call.node.domain or 'ai.onnx'}.{call.kind} is no operator that eiplane can "
                    f"run, and the graph does not say of what shape its result is{why}"
                ) from None
            if found is None:
                made.append(None)
                continue
            shape, dtype = found
            numbers = self._rng.random(shape) if is_float(dtype) else np.zeros(shape)
            made.append(numbers.astype(dtype))
        return made

    def _lose(
        self, call: Call, tensors: Sequence[Tensor | None], reason: str, scope: Scope
    ) -> None:
        """Go past a node that cannot be run, or takes what such a one gives."""
        there = [t for t in tensors if t is not None and not t.lost]
        self._mark(there, f"what it meets is not known: {reason}")
        call.inputs = list(there)
        signals = call.signals()
        if signals:
            said = f"its output goes to {call.kind}: {reason}"
            codes = self.flow.event(call.kind, signals, (1,), lambda _: Unknown(), unknown=said)
            self.flow.use(Operand(codes, lambda: np.zeros(1)), None)
        for name in call.node.output:
            if name:
                scope[name] = Tensor(np.zeros(0), lost=reason)

    def make_weight(self, name: str, value: NDArray[Any], of: Tensor) -> None:
        """Hear of a constant by the name that nodes of a rewritten one call it."""
        self._handed[name] = Tensor(value, None, of.names, of.fixed)

    # -- nodes of several kinds

    def _branch(self, call: Call, scope: Scope) -> None:
        """Follow the branch that a constant condition chooses."""
        taken = bool(np.all(call.value(0)))
        graph = call.attributes["then_branch" if taken else "else_branch"]
        inner: Scope = ChainMap({}, scope)
        own = self.program.read(graph)
        self._weights.update(own)
        inner.update(own)
        self._nodes(graph.node, inner)
        for name, entry in zip(call.node.output, graph.output, strict=True):
            if name:
                scope[name] = inner[entry.name]

    def _begins(self, call: Call) -> bool:
        """Return whether a parameter is multiplied with what is made of no parameter.

        Such as the zeros that a recurrent network written by hand begins with: this is one more
        use of the layer.
        """
        if call.kind not in ("Gemm", "MatMul") or not call.has(1):
            return False
        x, weight = call.tensor(0), call.tensor(1)
        if not weight.names or weight.value.ndim != 2 or not x.value.size:
            return False
        if x.names and x.value.any():
            return False  # a weight itself, or a state that was learnt
        low, high = float(x.value.min()), float(x.value.max())
        codes = self.flow.begin("a constant", x.value.shape, lambda: Known(low, high, "given"))
        call.inputs[0] = Tensor(x.value, codes)
        self._mark([x], "move")
        self.still = True
        return True

    def _rewritten(self, call: Call, scope: Scope, dynamic: bool) -> bool:
        """Run the nodes that a node stands for, if there are some."""
        node = call.node
        make = REWRITES.get(call.kind)
        if make is None or not is_known(node.domain, call.kind):
            return False
        if not dynamic and node.domain in ("", "ai.onnx"):
            return False
        nodes = make(self, call, self.program.onnx.helper.make_node)
        if nodes is None:
            return False
        inner: Scope = ChainMap(self._handed, scope)
        self._handed = {}
        before, self.opset = self.opset, max(self.opset, _OPSET)
        self._inside += 1
        for part in nodes:
            part.name = node.name
        try:
            self._nodes(nodes, inner)
        finally:
            self.opset = before
            self._inside -= 1
        for name in node.output:
            if name and name in inner:
                scope[name] = inner[name]
        return True

    def number(self, name: str, value: float, dtype: Any) -> Any:
        """Return a node that makes a number."""
        return self._constant_node(name, np.asarray(value, dtype=dtype))

    def whole(self, name: str, values: Sequence[int]) -> Any:
        """Return a node that makes whole numbers."""
        return self._constant_node(name, np.asarray(values, dtype=np.int64))

    def _constant_node(self, name: str, value: NDArray[Any]) -> Any:
        onnx = self.program.onnx
        tensor = onnx.numpy_helper.from_array(value, name)
        return onnx.helper.make_node("Constant", [], [name], value=tensor)

    def unknown(self, call: Call) -> list[Any]:
        """Report a node that is not known."""
        reason = reason_of(call.kind)
        for graph in inner_graphs(call.node):
            for name, tensor in self.program.read(graph).items():
                self._weights[name] = tensor
                self._mark([tensor], f"a weight inside {call.kind}, whose graph is not followed")
        there = [t for t in call.inputs if t is not None]
        if call.kind in ("Loop", "Scan", "If", "SequenceMap"):
            self._mark(there, f"a weight inside {call.kind}, whose graph is not followed")
        made: list[Any] = []
        for out in call.outs:
            parts = out if isinstance(out, list) else [out]
            codes = [
                None
                if v is None
                else self.flow.event(call.kind, call.signals(), v.shape, lambda _: Unknown(),
                                     unknown=reason)
                for v in parts
            ]  # fmt: skip
            made.append(codes if isinstance(out, list) else codes[0])
        return made

    def _random(self, call: Call) -> list[Codes | None]:
        given = call.attributes
        ends = RANDOM[call.kind]
        if call.kind.startswith("RandomUniform"):
            ends = float(given.get("low", 0.0)), float(given.get("high", 1.0))

        def rule() -> RangeRule:
            return Unknown() if ends is None else Known(*ends)

        return [
            None
            if v is None
            else self.flow.begin("random numbers", v.shape, rule, traits={"random": True})
            for v in call.outs
        ]

    # -- weights and their names

    def _mark(self, tensors: Sequence[Tensor], use: str) -> None:
        for tensor in tensors:
            if tensor.codes is None:
                for name in tensor.names:
                    self._used.setdefault(name, set()).add(use)

    def names_of(self, *tensors: Tensor | None) -> tuple[str, ...]:
        """Return what tells constants from others: the same in every run."""
        found: list[str] = []
        for tensor in tensors:
            if tensor is not None:
                found += sorted(tensor.names) or [self._anonymous(tensor)]
        return tuple(found)

    def _anonymous(self, tensor: Tensor) -> str:
        for name, kept in self.program.kept.items():
            if kept is tensor:
                return f"constant {name}"
        self._unnamed += 1
        return f"constant number {self._unnamed}"

    def name(self, call: Call, weight: Tensor) -> str:
        """Return a layer's name: its weight's, or where exporting has renamed that the node's."""
        names = sorted(weight.names)
        if len(names) > 1:  # a matrix with its scales: the matrix
            wide = [n for n in names if self._weights[n].value.ndim > 1]
            names = wide if len(wide) == 1 else names
        if len(names) == 1 and "::" not in names[0]:
            return self.title(names[0])
        path = [p for p in call.node.name.split("/") if p]
        return ".".join(path[:-1]) or call.node.name or f"{call.kind}_{call.index}"

    @staticmethod
    def title(name: str) -> str:
        """Return an initializer's name without what all matrices end in."""
        for end in _ENDS:
            if name.endswith(end) and len(name) > len(end):
                return name.removesuffix(end)
        return name

    def note(self, names: Iterable[str], reason: str) -> None:
        """List weights of some names."""
        for name in names:
            self.flow.noted.setdefault(self.title(name), reason)
            self.covered |= {name}

    def finish(
        self, refused: Mapping[str, str] | None = None
    ) -> tuple[Network | None, tuple[Skipped, ...]]:
        """Return the layers, and the weights that made none."""
        for name, tensor in self._weights.items():
            value = tensor.value
            if name in self.covered or value.ndim < 2 or not (
                is_float(value.dtype) or math.prod(value.shape) > 16
            ):  # fmt: skip
                continue
            reason = unused(self._used.get(name), value.shape)
            if reason is not None:
                self.flow.noted.setdefault(self.title(name), reason)
        return finished(self.flow, refused)


class _LostError(Exception):
    """Nothing computes a node, and nothing says of what shape its result is."""


class _NodeError(ValueError):
    """An error of a node, which it names."""


def _is_sequence(call: Call) -> bool:
    return len(call.outs) == 1 and isinstance(call.outs[0], list)
