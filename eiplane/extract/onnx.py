"""Networks from ONNX graphs."""

from __future__ import annotations

from pathlib import Path

from ..layer import Network
from ..result import Skipped
from .options import ExtractOptions

__all__ = ["from_onnx"]


def from_onnx(path: Path, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of an ONNX graph."""
    raise ValueError(f"{path}: ONNX is not read yet")
