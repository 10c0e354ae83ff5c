"""Sparse tensors, which have no storage that codes could stand beside."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Unknown
from ..flow import Operand

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Layouts"]

#: Products, and what they are of dense matrices.
_PRODUCTS = {"mm": "mm", "_sparse_mm": "mm", "addmm": "addmm", "_sparse_addmm": "addmm",
             "mv": "mv", "addmv": "addmv", "bmm": "bmm"}  # fmt: skip

#: Entries of a sparse matrix that is written out, at most.
_MOST = 1 << 24

_REASON = "its output goes on as a sparse tensor, which eiplane does not follow"


class Layouts:
    """The sparse tensors of one run.

    Parameters
    ----------
    torch : module
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._dynamic: dict[int, tuple[Any, Operand]] = {}

    def written_out(self, run: Run, func: Any, args: Any) -> tuple[Any, Any]:
        """Return a product with sparse constants as one with dense ones.

        Parameters
        ----------
        run : Run
        func : OpOverload
        args : tuple

        Returns
        -------
        func, args
            As they are, for any other operator.
        """
        name = _PRODUCTS.get(func._schema.name.removeprefix("aten::"), "")
        sparse = [a for a in args if self._is_sparse(a)] if name else []
        if not sparse or any(self._depends(a) or a.numel() > _MOST for a in sparse):
            return func, args
        dense = {id(a): a.to_dense() for a in sparse}
        for a in sparse:
            run.constants.computed([dense[id(a)]], [a])
        return getattr(self._torch.ops.aten, name).default, tuple(dense.get(id(a), a) for a in args)

    def followed(self, run: Run, tensors: list[Any], operands: Any, outs: list[Any]) -> bool:
        """Report an operator if it takes or gives sparse tensors that depend on the input.

        Parameters
        ----------
        run : Run
        tensors : list of tensors
            Among its arguments.
        operands : dict of int to Operand
        outs : list
            What it gave.

        Returns
        -------
        bool
            Whether it did.
        """
        made = [t for t in outs if self._is_sparse(t)]
        used = [operands[id(t)] for t in tensors if operands[id(t)].codes is not None]
        taken = [self._dynamic[id(t)][1] for t in tensors if self._depends(t)]
        if not taken and not (made and used):
            return False
        for tensor in outs:
            if isinstance(tensor, self._torch.Tensor):
                codes = run.flow.event("a sparse tensor", [*used, *taken], tuple(tensor.shape),
                                       lambda _: Unknown(), unknown=_REASON)  # fmt: skip
                run.put(tensor, codes)
                if self._is_sparse(tensor):
                    nothing = Operand(codes, lambda shape=codes.shape: np.zeros(shape))  # type: ignore[misc]
                    self._dynamic[id(tensor)] = weakref.ref(tensor), nothing
        return True

    def _is_sparse(self, value: Any) -> bool:
        torch = self._torch
        return isinstance(value, torch.Tensor) and value.layout is not torch.strided

    def _depends(self, value: Any) -> bool:
        found = self._dynamic.get(id(value))
        return found is not None and found[0]() is value
