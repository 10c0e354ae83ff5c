"""ONNX files: whole, and holding what they declare, before anything makes room for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...files import require
from .sizes import check_declared

__all__ = ["load"]


def load(onnx: Any, path: Path) -> Any:
    """Return the graph of a file, its functions written out.

    Parameters
    ----------
    onnx : module
    path : Path
        Weights beside it are read too.

    Returns
    -------
    onnx.ModelProto

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
        if not model.graph.node:
            raise ValueError("it has no nodes")
        check_declared(onnx, model, path)
        onnx.checker.check_model(str(path))
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
    return model
