"""Networks from ONNX graphs, followed node by node.

The graph is walked once with an example input of zeros. What depends on constants and shapes alone
is computed (by the onnx package's own reference implementation); of everything else only the shape
counts, and what :class:`eiplane.extract.trace.Trace` follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..network import Network
from ..results import Skipped
from .onnx_ops import CARRIES, ELEMENTWISE, KEEPS, MIXES, MOVES, NOTES, SILENT
from .options import ExtractOptions
from .trace import UNKNOWN, Convolution, Info, Trace

__all__ = ["from_onnx"]

Value = NDArray[Any]

#: Sizes that a graph leaves open: the batch, and others such as a sequence's length.
_BATCH, _OPEN = 1, 4


def from_onnx(path: Path, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of an ONNX graph, in order of execution.

    Parameters
    ----------
    path : Path
    options : ExtractOptions
        ``input_size`` where the graph leaves more than its batch size open.

    Returns
    -------
    network : Network
        Named as the weights, less a last ``weight``, or by the nodes where exporting has renamed
        the weights.
    skipped : tuple of Skipped

    Raises
    ------
    ImportError
        If onnx is missing (``pip install "eiplane[onnx]"``).
    ValueError
        For a file that is no whole graph, or a graph without layers.
    """
    if options.activation is not None:
        raise ValueError(f"{path}: an ONNX graph brings its own activations; leave activation out")
    onnx = require("onnx", "onnx")
    model = _load(onnx, path)
    require("onnx.reference", "onnx")
    try:
        walk = _Walk(onnx, model, options)
        walk.run()
        network, skipped = walk.trace.network()
    except MemoryError as error:
        raise ValueError(f"{path}: its shapes take more memory than there is ({error})") from None
    except (KeyError, TypeError, IndexError, RuntimeError, ArithmeticError) as error:
        # The reference implementation has its own ways to say that a graph makes no sense.
        raise ValueError(f"{path}: the graph cannot be followed ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if network is None:
        listed = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:8])
        raise ValueError(
            f"{path}: the graph has no layer that eiplane can analyse"
            + (f" ({listed})" if listed else "")
        )
    return network, skipped


def _load(onnx: Any, path: Path) -> Any:
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
        if not model.graph.node:
            raise ValueError("it has no nodes")
        onnx.checker.check_model(str(path))
        onnx.load_external_data_for_model(model, str(path.parent))
        if model.functions:
            require("onnx.inliner", "onnx")
            model = onnx.inliner.inline_local_functions(model)
        for tensor in model.graph.initializer:
            _check_tensor(onnx, tensor)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        raise ValueError(f"{path}: not a whole ONNX graph ({reason})") from None
    return model


def _check_tensor(onnx: Any, tensor: Any) -> None:
    """Raise ValueError if an initializer has other than the bytes that its shape needs."""
    if not tensor.HasField("raw_data"):
        return
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    needed = int(np.prod(tensor.dims, dtype=object)) * dtype.itemsize
    if dtype.itemsize and len(tensor.raw_data) < needed // 8:
        raise ValueError(f"{tensor.name!r} has {len(tensor.raw_data)} of its {needed} bytes")


class _Walk:
    """One walk over a graph."""

    def __init__(self, onnx: Any, model: Any, options: ExtractOptions) -> None:
        self._onnx = onnx
        self._graph = model.graph
        self._opsets = list(model.opset_import)
        self._ir = model.ir_version
        self.trace = Trace()
        self._values: dict[str, Value] = {}
        self._infos: dict[str, Info] = {}
        for tensor in self._graph.initializer:
            self._values[tensor.name] = onnx.numpy_helper.to_array(tensor)
            self._infos[tensor.name] = Info(dynamic=False, names=frozenset([tensor.name]))
        inputs = [i for i in self._graph.input if i.name not in self._values]
        for k, entry in enumerate(inputs):
            shape = self._input_shape(entry, options if k == 0 else ExtractOptions())
            kind = onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
            self._values[entry.name] = np.zeros(shape, dtype=kind)
            self._infos[entry.name] = UNKNOWN
        self._shapes = self._inferred(model, inputs)

    def _input_shape(self, entry: Any, options: ExtractOptions) -> tuple[int, ...]:
        if options.input_data is not None:
            return np.shape(options.input_data)
        if options.input_size is not None:
            return tuple(int(n) for n in options.input_size)
        dims = entry.type.tensor_type.shape.dim
        return tuple(
            d.dim_value if d.HasField("dim_value") else (_BATCH if i == 0 else _OPEN)
            for i, d in enumerate(dims)
        )

    def _inferred(self, model: Any, inputs: Sequence[Any]) -> dict[str, tuple[int, ...]]:
        """Return what shape inference says, for values too dear to compute."""
        copy = type(model)()
        copy.CopyFrom(model)
        for entry in copy.graph.input:
            if entry.name in self._values and entry.name in {i.name for i in inputs}:
                shape = entry.type.tensor_type.shape
                del shape.dim[:]
                for n in self._values[entry.name].shape:
                    shape.dim.add().dim_value = n
        found = {}
        inferred = self._onnx.shape_inference.infer_shapes(copy, data_prop=True)
        for entry in (*inferred.graph.value_info, *inferred.graph.output):
            dims = entry.type.tensor_type.shape.dim
            known = entry.type.tensor_type.HasField("shape")
            if known and all(d.HasField("dim_value") for d in dims):
                found[entry.name] = tuple(d.dim_value for d in dims)
        return found

    def run(self) -> None:
        """Follow every node."""
        for index, node in enumerate(self._graph.node):
            names = [n for n in node.input if n]
            for name in names:
                if name not in self._values:
                    raise ValueError(f"node {node.name!r} takes {name!r}, which nothing makes")
            infos = [self._infos[n] for n in names]
            if not any(i.dynamic for i in infos) and node.op_type not in ("If", "Loop", "Scan"):
                self._constant(node, infos)
            else:
                self._follow(node, index)
        self.trace.mix([self._infos[o.name] for o in self._graph.output], weak=True)

    # -- values

    def _compute(self, node: Any, values: Mapping[str, Value]) -> list[Value]:
        """Compute one node."""
        onnx = self._onnx
        given = [n for n in dict.fromkeys(node.input) if n]
        kinds = {n: onnx.helper.np_dtype_to_tensor_dtype(values[n].dtype) for n in given}
        graph = onnx.helper.make_graph(
            [node],
            "one",
            [onnx.helper.make_tensor_value_info(n, kinds[n], None) for n in given],
            [onnx.helper.make_tensor_value_info(n, 0, None) for n in node.output if n],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir)
        with np.errstate(all="ignore"):
            made = onnx.reference.ReferenceEvaluator(model).run(None, {n: values[n] for n in given})
        return [np.asarray(value) for value in made]

    def _constant(self, node: Any, infos: list[Info]) -> None:
        names = frozenset().union(*(i.names for i in infos))
        made = self._compute(node, self._values)
        for name, value in zip([n for n in node.output if n], made, strict=True):
            self._values[name] = value
            self._infos[name] = Info(dynamic=False, names=names)

    def _outputs(self, node: Any) -> list[Value]:
        """Return values of the right shapes for a node's outputs."""
        outputs = [n for n in node.output if n]
        kind = self._values[next(n for n in node.input if n)].dtype
        # Where numbers do not matter and the shape is known, nothing is computed.
        cheap = CARRIES | ELEMENTWISE | MIXES | set(NOTES) | {"Identity", "Dropout"}
        if kind.kind == "f" and node.op_type in cheap and all(n in self._shapes for n in outputs):
            return [np.zeros(self._shapes[n], dtype=kind) for n in outputs]
        return self._compute(node, self._values)

    # -- meaning

    def _follow(self, node: Any, index: int) -> None:
        kind = node.op_type
        outputs = [n for n in node.output if n]
        if kind in ("If", "Loop", "Scan"):
            raise ValueError(
                f"node {node.name!r} is a {kind}: graphs with branches are not followed"
            )
        if kind == "Shape":
            made = self._compute(node, self._values)
            self._values[outputs[0]], self._infos[outputs[0]] = made[0], Info(dynamic=False)
            return
        try:
            values = self._outputs(node)
        except Exception as error:
            raise ValueError(f"node {node.name!r} ({kind}): {error}") from error
        for name, value in zip(outputs, values, strict=True):
            self._values[name] = value
        names = [n for n in node.input if n]
        dynamic = [self._infos[n] for n in names if self._infos[n].dynamic]
        handler = _HANDLERS.get(kind)
        result = handler(self, node, index) if handler is not None else None
        if result is None:
            self._note(node, names)
            if kind in KEEPS:
                result = self._infos[node.input[0]]
            elif kind in MOVES:
                result = self._moved(node, names)
            elif kind in ELEMENTWISE:
                result = self._elementwise(node, names)
            elif kind in SILENT:
                result = UNKNOWN
            elif kind in CARRIES:
                result = self.trace.carry(dynamic)
            elif kind in MIXES:
                result = self.trace.mix(dynamic)
            else:
                reason = f"its output goes to {kind}, which eiplane does not know"
                result = self.trace.mix(dynamic, reason)
        results = result if isinstance(result, list) else [result] * len(outputs)
        for name, info in zip(outputs, results, strict=True):
            self._infos[name] = info

    def _note(self, node: Any, names: list[str]) -> None:
        """Note the weights of a node that makes no layer."""
        reason = NOTES.get(node.op_type)
        for name in names:
            info = self._infos[name]
            value = self._values[name]
            if reason and info.names and not info.dynamic and value.ndim >= 2:
                self.trace.noted.setdefault(self._name(node, info, 0), reason)

    def _name(self, node: Any, info: Info, index: int) -> str:
        names = sorted(info.names)
        if len(names) == 1 and "::" not in names[0]:
            return names[0].removesuffix(".weight").removesuffix("_weight")
        path = [p for p in node.name.split("/") if p]
        return ".".join(path[:-1]) or node.name or f"{node.op_type}_{index}"

    def _moved(self, node: Any, names: list[str]) -> Any:
        data = [names[0]] if node.op_type != "Concat" else names
        infos = [self._infos[n] for n in data]
        if not any(i.parts for i in infos):
            return Info(bounds=infos[0].bounds)

        def apply(codes: list[Any]) -> Any:
            if any(i.parts and c is None for i, c in zip(infos, codes, strict=True)):
                return [np.zeros(0, np.int64) for n in node.output if n]
            moved = {
                n: np.full(self._values[n].shape, -1) if c is None else np.ascontiguousarray(c)
                for n, c in zip(data, codes, strict=True)
            }
            return self._compute(node, self._values | moved)

        return self.trace.move(infos, apply)

    def _elementwise(self, node: Any, names: list[str]) -> Info:
        shape = self._values[node.output[0]].shape
        dynamic = [n for n in names if self._infos[n].dynamic]
        infos = [self._infos[n] for n in dynamic]
        constants: dict[str, Value] = {}
        for name in names:
            value = self._values[name]
            if self._infos[name].dynamic:
                continue
            flat = value.reshape(-1)
            if flat.size > 1 and not (node.op_type == "PRelu" and (flat == flat[0]).all()):
                return self._shifted(node, name, infos, shape)
            if flat.size:
                single = flat[:1].reshape(())
                constants[name] = single.astype(np.float64) if single.dtype.kind == "f" else single

        def apply(probes: list[Any]) -> Any:
            values = dict(zip(dynamic, probes, strict=True)) | constants
            return self._compute(node, self._values | values)[0]

        return self.trace.elementwise(node.op_type, infos, apply, shape)

    def _shifted(self, node: Any, name: str, infos: list[Info], shape: tuple[int, ...]) -> Info:
        if node.op_type == "PRelu":
            return self.trace.mix(infos, "its PReLU has another slope for each channel")
        codes = infos[0].codes
        if node.op_type == "Add" and len(infos) == 1 and codes is not None and codes.shape == shape:
            constant = np.broadcast_to(self._values[name].astype(np.float64), shape)
            made = self.trace.shift(infos[0], constant)
            if made is not None:
                return made
        return self.trace.mix(infos)

    def _linear(
        self,
        node: Any,
        index: int,
        weight: str,
        values: Value,
        bias: Value | None,
        x: str,
        axis: int = -1,
        conv: Convolution | None = None,
    ) -> Info:
        info = self._infos[weight]
        key = (tuple(sorted(info.names)), values.shape, weight, None if bias is None else id(bias))
        shape = self._values[node.output[0]].shape
        name = self._name(node, info, index)
        return self.trace.linear(name, key, values, bias, self._infos[x], shape, axis, axis, conv)

    def _gemm(self, node: Any, index: int) -> Info | None:
        a, b, *rest = node.input
        options = _attributes(self._onnx, node)
        if self._infos[b].dynamic or not self._infos[a].dynamic or options.get("transA", 0):
            return None
        weight = self._values[b] if options.get("transB", 0) else self._values[b].T
        if options.get("alpha", 1.0) != 1.0:
            weight = weight * options["alpha"]
        bias = None
        if rest and rest[0]:
            if self._infos[rest[0]].dynamic or self._values[rest[0]].size not in (1, len(weight)):
                return None
            bias = self._values[rest[0]].reshape(-1) * options.get("beta", 1.0)
            bias = np.broadcast_to(bias, (len(weight),))
        return self._linear(node, index, b, weight, bias, a)

    def _matmul(self, node: Any, index: int) -> Info | None:
        a, b = node.input
        if not self._infos[b].dynamic and self._values[b].ndim == 2:
            return self._linear(node, index, b, self._values[b].T, None, a)
        if not self._infos[a].dynamic and self._values[a].ndim == 2:
            axis = -1 if self._values[b].ndim == 1 else -2
            return self._linear(node, index, a, self._values[a], None, b, axis)
        for name in (a, b):
            info = self._infos[name]
            if not info.dynamic and self._values[name].ndim > 2 and info.names:
                reason = "a stack of matrices, multiplied in one go"
                self.trace.noted.setdefault(self._name(node, info, index), reason)
        return None

    def _conv(self, node: Any, index: int) -> Info | None:
        x, weight, *rest = node.input
        bias = rest[0] if rest and rest[0] else None
        if self._infos[weight].dynamic or (bias is not None and self._infos[bias].dynamic):
            return None
        values = self._values[weight]
        axes = values.ndim - 2
        options = _attributes(self._onnx, node)
        ones = [1] * axes
        conv = Convolution(
            tuple(options.get("strides", ones)),
            tuple(options.get("dilations", ones)),
            int(options.get("group", 1)),
        )
        offset = None if bias is None else self._values[bias]
        return self._linear(node, index, weight, values, offset, x, -(axes + 1), conv)

    def _batch_norm(self, node: Any, index: int) -> Info | list[Info] | None:
        x, *names = node.input
        if _attributes(self._onnx, node).get("training_mode", 0):
            return None
        if any(self._infos[n].dynamic for n in names):
            return None
        scale, shift, mean, var = (self._values[n].astype(np.float64) for n in names)
        scale = scale / np.sqrt(var + _attributes(self._onnx, node).get("epsilon", 1e-5))
        made = self.trace.normalise(self._infos[x], scale, shift - mean * scale, 1)
        return [made] + [UNKNOWN] * (sum(map(bool, node.output)) - 1)

    def _pool(self, node: Any, index: int) -> Info | list[Info] | None:
        info = self._infos[node.input[0]]
        shape = self._values[node.output[0]].shape
        options = _attributes(self._onnx, node)
        size = self._values[node.input[0]].shape[2:]
        kind = "max" if "Max" in node.op_type else "mean"
        window = tuple(options.get("kernel_shape", size))
        if node.op_type == "ReduceMean":
            if len(node.input) > 1 and node.input[1]:
                axes = self._values[node.input[1]].tolist()
            else:
                axes = options.get("axes", [])
            rank = self._values[node.input[0]].ndim
            if sorted(a % rank for a in axes) != list(range(2, rank)):
                return None
            return self.trace.pool(
                info, kind, size, (1,) * len(size), shape, bool(options.get("keepdims", 1))
            )
        dilation = tuple(options.get("dilations", (1,) * len(window)))
        made = self.trace.pool(info, kind, window, dilation, shape)
        return [made] + [UNKNOWN] * (sum(map(bool, node.output)) - 1)

    def _split(self, node: Any, index: int) -> list[Info] | None:
        made = self._moved(node, [n for n in node.input if n])
        return made if isinstance(made, list) else None

    def _kept(self, node: Any, index: int) -> list[Info]:
        return [self._infos[node.input[0]]] + [UNKNOWN] * (sum(map(bool, node.output)) - 1)

    def _pad(self, node: Any, index: int) -> Info | None:
        # Exporters write out a padding of nothing.
        same = self._values[node.output[0]].shape == self._values[node.input[0]].shape
        return self._infos[node.input[0]] if same else None


def _attributes(onnx: Any, node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


_Handler = Callable[[_Walk, Any, int], Info | list[Info] | None]
_HANDLERS: dict[str, _Handler] = {
    "Gemm": _Walk._gemm,
    "MatMul": _Walk._matmul,
    "Conv": _Walk._conv,
    "BatchNormalization": _Walk._batch_norm,
    "Split": _Walk._split,
    "Dropout": _Walk._kept,
    "Pad": _Walk._pad,
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "ReduceMean"), _Walk._pool
    ),
}
