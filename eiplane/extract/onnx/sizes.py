"""Whether an ONNX graph holds what it declares, before anything makes room for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["check_declared"]

#: Elements of an example input beyond which a graph's own sizes are no one's intention.
_MOST_INPUT = 1 << 31

#: Where a tensor keeps its numbers, other than as raw bytes.
_FIELDS = (
    "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data",
)  # fmt: skip


def check_declared(onnx: Any, model: Any, path: Path) -> None:
    """Check every tensor and input of a graph against the bytes that there are.

    To be called on a model as it was parsed, before external data are loaded.

    Parameters
    ----------
    onnx : module
    model : onnx.ModelProto
    path : Path
        Of the model's file; external data lie beside it.

    Raises
    ------
    ValueError
        If a tensor declares more numbers than it holds, or an input more than can be meant. It
        names the tensor, not the file.
    """
    for tensor in _tensors(onnx, model):
        declared = _count(tensor.dims, tensor.name)
        held = _held(onnx, tensor, path)
        if held is not None and declared > held:
            raise ValueError(
                f"tensor {tensor.name!r} of shape {list(tensor.dims)} declares {declared} numbers "
                f"and holds {held}"
            )
    given = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        shape = value.type.tensor_type.shape
        sizes = [d.dim_value for d in shape.dim if d.HasField("dim_value") and d.dim_value > 0]
        if value.name not in given and math.prod(sizes) > _MOST_INPUT:
            raise ValueError(
                f"input {value.name!r} declares {math.prod(sizes)} numbers, more than any example "
                "could have"
            )


def _count(dims: Any, name: str) -> int:
    if any(d < 0 for d in dims):
        raise ValueError(f"tensor {name!r} declares the shape {list(dims)}")
    return math.prod(int(d) for d in dims)


def _held(onnx: Any, tensor: Any, path: Path) -> int | None:
    """Return how many numbers a tensor holds; None if its type has no fixed size."""
    bits = _bits(onnx, tensor.data_type)
    if bits is None:
        return None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        about = {entry.key: entry.value for entry in tensor.external_data}
        try:
            size = (path.parent / about["location"]).stat().st_size
            start = int(about.get("offset", 0))
            length = int(about.get("length", size - start))
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"tensor {tensor.name!r} is kept in a file that cannot be found ({error})"
            ) from None
        if start < 0 or start + length > size:
            raise ValueError(f"tensor {tensor.name!r} ends beyond its file of {size} bytes")
        return length * 8 // bits
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) * 8 // bits
    held = max(len(getattr(tensor, field)) for field in _FIELDS)
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return held // 2
    return held * max(1, 8 // bits)  # of four bits and less, several in a number


def _bits(onnx: Any, kind: int) -> int | None:
    name = onnx.TensorProto.DataType.Name(kind) if kind in _known(onnx) else ""
    if name.endswith(("INT4", "FLOAT4E2M1")):
        return 4
    if name.endswith("INT2"):
        return 2
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize) * 8 or None
    except (KeyError, ValueError, TypeError):
        return None


def _known(onnx: Any) -> set[int]:
    return set(onnx.TensorProto.DataType.values())


def _tensors(onnx: Any, model: Any) -> Iterator[Any]:
    """Yield every tensor of a model: initializers and constants, in subgraphs and functions too."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
