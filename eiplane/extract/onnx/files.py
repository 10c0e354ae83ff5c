"""ONNX files: whole, and holding what they declare, before anything makes room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...files import require
from .sizes import check_declared

__all__ = ["load"]


#: Bytes of a tensor that is taken out of the description at once.
_LARGE = 1 << 16


def load(onnx: Any, path: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return the graph of a file, its functions written out, and its large weights.

    Parameters
    ----------
    onnx : module
    path : Path
        Weights beside it are read too.

    Returns
    -------
    model : onnx.ModelProto
    weights : dict of str to ndarray
        Initializers that the model names, but does not hold any more: there is one copy of them.

    Raises
    ------
    ValueError
        For a file that is no whole graph, or declares more than it holds.
    OSError
        If it cannot be read.
    """
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
        del data
        if not model.graph.node:
            raise ValueError("it has no nodes")
        check_declared(onnx, model, path)
        external = onnx.TensorProto.EXTERNAL
        if any(t.data_location == external for t in model.graph.initializer):
            onnx.checker.check_model(str(path))  # also that they lie beside it
            onnx.load_external_data_for_model(model, str(path.parent))
            weights = _taken_out(onnx, model)
        else:
            weights = _taken_out(onnx, model)
            onnx.checker.check_model(model)
            # Of constants in nodes and graphs inside.
            onnx.load_external_data_for_model(model, str(path.parent))
        if model.functions:
            require("onnx.inliner", "onnx")
            model = onnx.inliner.inline_local_functions(model)
    except MemoryError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = said[0] if said else type(error).__name__
        raise ValueError(f"{path}: not a whole ONNX graph ({reason})") from None
    return model, weights


def _taken_out(onnx: Any, model: Any) -> dict[str, NDArray[Any]]:
    """Take large initializers out of a model; a number is left of each."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() > _LARGE and tensor.HasField("raw_data"):
            found[tensor.name] = onnx.numpy_helper.to_array(tensor)
            tensor.dims[:] = [1]
            tensor.raw_data = bytes(16)
    return found
