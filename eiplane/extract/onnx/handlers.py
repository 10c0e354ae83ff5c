"""What ONNX's operators are, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .call import Call
from .elementwise import ELEMENTWISE
from .functions import FUNCTIONS
from .linear import LINEAR
from .mixes import MIXES
from .moves import MOVES
from .norms import NORMS
from .pools import POOLS
from .recurrent import RECURRENT
from .rewrites import REWRITES
from .runtime import RUNTIME

if TYPE_CHECKING:
    from .run import Run

__all__ = ["HANDLERS", "is_known", "use_of"]

#: Each takes the run and the call; returns the codes of the result, or a list of those of the
#: results, or NotImplemented.
HANDLERS: dict[str, Callable[[Run, Call], Any]] = {
    **ELEMENTWISE,
    **LINEAR,
    **MOVES,
    **NORMS,
    **POOLS,
    **MIXES,
    **RECURRENT,
}

#: Elementwise and fused operators of ONNX Runtime that mean what their names say.
_RUNTIME = frozenset(["Gelu", "FastGelu", "BiasGelu", "QuickGelu", "QuantizeLinear",
                      "DequantizeLinear"])  # fmt: skip
_FUSED = frozenset(["FusedMatMul", "FusedConv", "FusedGemm", "SkipLayerNormalization",
                    "SkipSimplifiedLayerNormalization", *RUNTIME])  # fmt: skip


_RUNTIME_ALONE = _FUSED | {"FastGelu", "BiasGelu", "QuickGelu"}


def is_known(domain: str, kind: str) -> bool:
    """Return whether an operator is one of ONNX's own, or means the same."""
    if domain in ("", "ai.onnx"):
        own = kind in HANDLERS or kind in REWRITES
        return own and kind not in _RUNTIME_ALONE
    return domain == "com.microsoft" and (kind in _RUNTIME or kind in _FUSED)


def use_of(kind: str) -> str:
    """Return what a constant among an operator's inputs is to it."""
    if kind in NORMS:
        return "norm"
    if kind in MOVES or kind in RECURRENT:
        return "move"  # of a recurrent node biases and states; its matrices are layers
    return "elementwise" if kind in FUNCTIONS else kind
