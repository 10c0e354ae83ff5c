"""An ONNX graph that can be run, a node at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .call import Tensor
from .cells import recurrent
from .dynamic import seen_through
from .functions import FUNCTIONS, NodeFunction
from .kernels import conv, conv_transpose, pool

__all__ = ["CannotRunError", "Program", "inner_graphs", "outer_names"]

Array = NDArray[Any]


#: Numbers in one array beyond which a few bytes of a graph ask for more than anyone means.
_MOST = 1 << 31

#: Since when Resize has been what it is.
_RESIZES = 11

#: Turns of a loop, at most.
_MOST_TURNS = 1 << 12


class CannotRunError(Exception):
    """There is nothing that computes a node."""


class Program:
    """A graph, its constants, and what computes its nodes.

    Parameters
    ----------
    onnx : module
    model : onnx.ModelProto
    weights : mapping of str to ndarray
        Initializers that the model itself does not hold.
    """

    def __init__(self, onnx: Any, model: Any, weights: Mapping[str, Array]) -> None:
        self.onnx = onnx
        self._weights = weights
        self.graph = model.graph
        self._opsets = {entry.domain: int(entry.version) for entry in model.opset_import}
        self.opset = max(self._opsets.get("", 1), self._opsets.get("ai.onnx", 1))
        self._ir = model.ir_version
        self._evaluators: dict[Any, tuple[Any, Any]] = {}
        self._resizes: dict[int, tuple[Any, Any]] = {}
        #: What constant nodes gave, by the names of their outputs; the same in every run.
        self.kept: dict[str, Tensor] = {}
        self.initializers = self.read(self.graph)
        self.nodes = seen_through(
            self.graph.node, [o.name for o in self.graph.output], self.initializers,
            onnx.helper.make_node,
        )  # fmt: skip
        self.inputs = [i for i in model.graph.input if i.name not in self.initializers]
        self._declared = {
            entry.name: entry.type.tensor_type
            for entry in (*model.graph.value_info, *model.graph.output)
        }

    def read(self, graph: Any) -> dict[str, Tensor]:
        """Return the initializers of a graph."""
        found = {}
        for tensor in graph.initializer:
            value = self._weights.get(tensor.name) if graph is self.graph else None
            if value is None:
                value = self.onnx.numpy_helper.to_array(tensor)
            found[tensor.name] = Tensor(value, None, frozenset([tensor.name]), True, tensor.name)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            found[name] = Tensor(self._dense(sparse), None, frozenset([name]), True, name)
        return found

    def _dense(self, sparse: Any) -> Array:
        to_array = self.onnx.numpy_helper.to_array
        values, indices = to_array(sparse.values), to_array(sparse.indices)
        made = np.zeros([int(n) for n in sparse.dims], dtype=values.dtype)
        if indices.ndim == 1:
            made.reshape(-1)[indices] = values
        else:
            made[tuple(indices.T)] = values
        return made

    def attributes(self, node: Any) -> dict[str, Any]:
        """Return a node's attributes."""
        return {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}

    def sizes(self, inputs: Mapping[str, Array]) -> dict[str, int]:
        """Return the numbers that the named sizes of the graph's inputs have."""
        found: dict[str, int] = {}
        for entry in self.inputs:
            dims = entry.type.tensor_type.shape.dim
            for dim, n in zip(dims, inputs[entry.name].shape, strict=False):
                if dim.dim_param:
                    found[dim.dim_param] = int(n)
        return found

    def declared(self, name: str, sizes: Mapping[str, int]) -> tuple[tuple[int, ...], Any] | None:
        """Return the shape and the type that the graph declares for a value, if it does.

        Parameters
        ----------
        name : str
        sizes : mapping of str to int
            What its named sizes are.
        """
        kind = self._declared.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        dims = [d.dim_value if d.HasField("dim_value") else sizes.get(d.dim_param, 0)
                for d in kind.shape.dim]  # fmt: skip
        if any(d < 1 for d in dims):
            return None
        return tuple(dims), self.onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)

    def compute(
        self, node: Any, names: Sequence[str], values: Sequence[Any], opset: int
    ) -> list[Any]:
        """Compute a node.

        Parameters
        ----------
        node : onnx.NodeProto
        names : sequence of str
            Of the values: the node's inputs, empty where one is left out, and what graphs inside
            it take.
        values : sequence
            None where one is left out.
        opset : int

        Returns
        -------
        list
            A value for each output, None for what is left out.

        Raises
        ------
        CannotRunError
            If nothing here computes such a node.
        """
        if node.op_type == "Loop" and not _ends(node, values[0]):
            raise CannotRunError("nothing says that it ends soon")
        if self._asked(node, values) > _MOST:
            raise ValueError(f"it makes {self._asked(node, values)} numbers")
        with np.errstate(all="ignore"):
            made: Any = self._own(node, values)
            if made is None:
                made = self._reference(node, names, values, opset)
        given: Iterator[Any] = (v if isinstance(v, list) else np.asarray(v) for v in made)
        return [next(given, None) if name else None for name in node.output]

    def _asked(self, node: Any, values: Sequence[Any]) -> int:
        """Return how many numbers a node makes that says so itself."""
        kind = node.op_type
        sizes: Any = ()
        if kind == "ConstantOfShape" and values[0] is not None:
            sizes = values[0].reshape(-1).tolist()
        elif kind == "Expand" and values[1] is not None:
            wanted = [int(n) for n in values[1].reshape(-1)]
            sizes = np.broadcast_shapes(tuple(wanted), values[0].shape)
        elif kind == "Tile" and values[1] is not None:
            sizes = [values[0].size, *values[1].reshape(-1).tolist()]
        elif kind in ("RandomNormal", "RandomUniform"):
            sizes = self.attributes(node).get("shape", ())
        elif kind == "Range" and all(v is not None and v.size == 1 for v in values):
            start, stop, step = (float(v.reshape(-1)[0]) for v in values)
            sizes = [(stop - start) / step] if step else ()
        elif kind == "Pad" and len(values) > 1 and values[1] is not None:
            # As if all of it were on the shortest axis.
            sizes = [*sorted(values[0].shape)[1:], sum(map(abs, values[1].reshape(-1).tolist()))]
        return int(math.prod(max(1, n) for n in sizes))

    def _own(self, node: Any, values: Sequence[Any]) -> list[Array] | None:
        """Compute a node here: what the reference is slow at, or has not."""
        kind, own = node.op_type, node.domain in ("", "ai.onnx")
        if any(isinstance(v, list) for v in values):
            return None
        options = self.attributes(node)
        several = sum(map(bool, node.output)) > 1
        if own and kind in ("Conv", "ConvTranspose"):
            if values[0].dtype.kind != "f":
                return None
            function = conv if kind == "Conv" else conv_transpose
            return [function(values[0], values[1], values[2] if len(values) > 2 else None, options)]
        if own and kind in ("MaxPool", "AveragePool") and not several:
            if options.get("ceil_mode", 0):
                return None
            name = "max" if kind == "MaxPool" else "mean"
            return [pool(values[0], name, options["kernel_shape"], options)]
        if own and kind in ("LSTM", "GRU", "RNN"):
            found = recurrent(kind, options, values)
            return [v for v, name in zip(found, node.output, strict=False) if name]
        if own and kind in ("QuantizeLinear", "DequantizeLinear"):  # which older ones have not
            return _quantised(kind, options, *(v for v in values if v is not None))
        if own and kind == "Upsample":
            return self._upsampled(node, options, values)
        trains = several or options.get("training_mode", 0)
        if own and kind == "BatchNormalization" and not trains:  # the reference's old ones do
            return [_batch_norm(options, *values)]
        if kind == "SimplifiedLayerNormalization":
            return [_rms_norm(options, *values)]
        if not own and node.domain == "com.microsoft" and kind in FUNCTIONS:
            function_here = NodeFunction(kind, options, tuple(v is not None for v in values))
            given = [v for v in values if v is not None]
            return [function_here(given).astype(values[0].dtype)]
        return None

    def _upsampled(
        self, node: Any, options: Mapping[str, Any], values: Sequence[Any]
    ) -> list[Array] | None:
        """Compute the node that Resize has taken the place of, as that."""
        x, scales = values[0], values[1] if len(values) > 1 else options.get("scales")
        if scales is None:
            return None
        if id(node) not in self._resizes:
            made = self.onnx.helper.make_node(
                "Resize", ["x", "", "s"], list(node.output), mode=options.get("mode", b"nearest"),
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
            self._resizes[id(node)] = made, node
        resize = self._resizes[id(node)][0]
        given = [x, None, np.asarray(scales, dtype=np.float32)]
        return self._reference(resize, ["x", "", "s"], given, _RESIZES)

    def _reference(
        self, node: Any, names: Sequence[str], values: Sequence[Any], opset: int
    ) -> list[Any]:
        helper = self.onnx.helper
        given = {n: v for n, v in zip(names, values, strict=True) if n and v is not None}
        kinds = {n: self._kind(v) for n, v in given.items()}
        key = (id(node), opset, tuple(kinds.items()))
        if key not in self._evaluators:
            opsets = [helper.make_opsetid(d, opset if d in ("", "ai.onnx") else v)
                      for d, v in (self._opsets | {"": opset}).items()]  # fmt: skip
            undefined = self.onnx.TensorProto.UNDEFINED
            graph = helper.make_graph(
                [node], "one",
                [helper.make_tensor_value_info(n, k, None) for n, k in kinds.items()],
                [helper.make_tensor_value_info(n, undefined, None) for n in node.output if n],
            )  # fmt: skip
            model = helper.make_model(graph, opset_imports=opsets, ir_version=self._ir)
            try:
                made = self.onnx.reference.ReferenceEvaluator(model)
            except (NotImplementedError, RuntimeError, TypeError) as error:
                raise CannotRunError(str(error)) from None
            # The node is kept, or its number could be given to another.
            self._evaluators[key] = made, node
        try:
            found: list[Any] = self._evaluators[key][0].run(None, given)
        except NotImplementedError as error:
            raise CannotRunError(str(error)) from None
        except RuntimeError as error:
            if not any(True for _ in inner_graphs(node)):
                raise
            raise CannotRunError(str(error)) from None  # older versions see no names around it
        return found

    def _kind(self, value: Any) -> int:
        while isinstance(value, list):
            if not value:
                return int(self.onnx.TensorProto.FLOAT)
            value = value[0]
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(value.dtype))


def _ends(node: Any, count: Array | None) -> bool:
    """Return whether a loop is sure to end: so many times at most, and none inside it."""
    if count is None or count.size != 1 or not 0 <= int(count.reshape(-1)[0]) <= _MOST_TURNS:
        return False
    graphs = list(inner_graphs(node))
    while graphs:
        for inner in graphs.pop().node:
            if inner.op_type in ("Loop", "Scan"):
                return False
            graphs += inner_graphs(inner)
    return True


def _batch_norm(
    options: dict[str, Any], x: Array, scale: Array, shift: Array, mean: Array, var: Array
) -> Array:
    gain, offset, mean, var = (
        v.astype(np.float64).reshape(-1, *(1,) * (x.ndim - 2)) for v in (scale, shift, mean, var)
    )
    made: Array = (x - mean) / np.sqrt(var + float(options.get("epsilon", 1e-5))) * gain + offset
    return made.astype(x.dtype)


def _quantised(
    kind: str, options: dict[str, Any], x: Array, scale: Array, zero: Array | None = None
) -> list[Array] | None:
    """Compute the nodes of a grid for all, or for each row along an axis; None of other grids."""
    whole = zero is None or zero.dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32)
    known = x.dtype if kind == "DequantizeLinear" else np.dtype(np.uint8)
    if options.get("block_size") or options.get("output_dtype") or not whole:
        return None
    if known not in (np.int8, np.uint8, np.int16, np.uint16, np.int32):
        return None
    if scale.ndim > 1 or (scale.size > 1 and x.ndim == 0):
        return None
    wide = [1] * x.ndim
    if scale.size > 1:
        wide[int(options.get("axis", 1)) % x.ndim] = scale.size
    step = scale.reshape(wide)
    middle = np.int64(0) if zero is None else zero.astype(np.int64).reshape(wide)
    if kind == "DequantizeLinear":
        return [((x.astype(np.int64) - middle) * step.astype(np.float64)).astype(scale.dtype)]
    kept = np.dtype(np.uint8) if zero is None else zero.dtype
    ends = np.iinfo(kept)
    return [np.clip(np.rint(x / step) + middle, ends.min, ends.max).astype(kept)]


def _rms_norm(options: dict[str, Any], x: Array, scale: Array, *rest: Any) -> Array:
    axis = int(options.get("axis", -1)) % x.ndim
    axes = tuple(range(axis, x.ndim))
    square = np.square(x.astype(np.float64)).mean(axis=axes, keepdims=True)
    made: Array = x / np.sqrt(square + float(options.get("epsilon", 1e-5))) * scale
    return made.astype(x.dtype)


def inner_graphs(node: Any) -> Iterator[Any]:
    """Yield the graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def outer_names(graph: Any) -> list[str]:
    """Return the names that a graph inside a node takes from around it."""
    own = {entry.name for entry in (*graph.input, *graph.initializer)}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    found: list[str] = []
    for node in graph.node:
        taken = [*node.input, *(n for g in inner_graphs(node) for n in outer_names(g))]
        found += [n for n in taken if n and n not in own and n not in found]
        own.update(node.output)
    return found + [o.name for o in graph.output if o.name not in own and o.name not in found]
