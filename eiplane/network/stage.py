"""Steps before a channel's last affine map: of a span of layers, or of a pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .activation import Activation
from .table import Table

__all__ = ["Stage"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stage:
    """A step before a channel's last affine map: an affine map and its activation, or a maximum.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of values in and out.
    weight : ndarray of float64, shape (n_out, n_in), or None
        C-contiguous; None for a maximum.
    bias : ndarray of float64, shape (n_out,), or None
    activation : Activation or None
    width : int
        0 for an affine map; otherwise each output is the maximum of so many neighbouring inputs.
    tables : tuple of Table or None
        Of each of the activation's ``distinct`` functions that the core does not evaluate itself;
        None where it does. Empty until they are made: :func:`.reach.with_tables`.
    """

    n_in: int
    n_out: int
    weight: Array | None = None
    bias: Array | None = None
    activation: Activation | None = None
    width: int = 0
    tables: tuple[Table | None, ...] = ()

    def functions(self) -> list[tuple[Activation, Table | None]]:
        """Return the activation's different functions, with the table of each that needs one."""
        assert self.activation is not None
        distinct = self.activation.distinct
        return list(zip(distinct, self.tables or (None,) * len(distinct), strict=True))

    def values(self, z: Array) -> Array:
        """Return the activation's values.

        Parameters
        ----------
        z : ndarray of float64, shape (n_out, samples)

        Returns
        -------
        ndarray of float64, shape (n_out, samples)
        """
        assert self.activation is not None
        rule, result = self.activation.rule, np.empty(z.shape)
        for i, (function, table) in enumerate(self.functions()):
            mine = slice(None) if rule is None else rule == i
            result[mine] = function(z[mine]) if table is None else table(z[mine])
        return result
