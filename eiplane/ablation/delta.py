"""What an edge's removal does to a layer's EI parts: :func:`eiplane.delta_ei_parts`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import pairwise
from ..joint import as_layer, channel_of
from ..run import Progress, Runner, Settings, checked_threads, progress_bar

__all__ = ["delta_ei_parts"]


def delta_ei_parts(
    layer: Any,
    *,
    activation: Any = None,
    bins: int | tuple[int, int] = 8,
    in_range: Sequence[float] = (0.0, 1.0),
    out_range: Any = "auto",
    outliers: str = "clip",
    threads: int | None = None,
    executor: Executor | None = None,
    progress: bool | Progress | None = None,
) -> NDArray[np.float64]:
    """Compute by how much EI_parts of a layer changes when an edge is removed, for every edge.

    An edge carries information of its own, and is noise to the other edges of its output. Without
    it EI_parts loses the first and gains what the noise had hidden, so the change may have either
    sign. It is exact: one output of the exact engine an edge. Bins stay where they were.

    Parameters
    ----------
    layer : eiplane.Layer, array_like of shape (n_out, n_in), or (weight, bias)
        Without pooling.
    activation : str or Activation, optional
        Of a bare weight; sigmoid when left out.
    bins, in_range, out_range, outliers, threads, executor, progress
        As in :func:`eiplane.analyze`. ``"auto"`` is the output range of the whole layer.

    Returns
    -------
    ndarray of float64, the shape of the layer's ``ei_edges``
        In bits: EI_parts without the edge less EI_parts with it.

    Raises
    ------
    TypeError, ValueError
        For bad input, and for a pooled layer.

    Examples
    --------
    Two inputs that say the same of one output: without either, the other one is heard better.

    >>> import numpy as np, eiplane
    >>> eiplane.delta_ei_parts([[5.0, 5.0]]).round(3).tolist()
    [[1.029, 1.029]]
    """
    settings = Settings(
        "ei_parts", bins=bins, in_range=in_range, out_range=out_range, outliers=outliers
    )
    workers = checked_threads(threads, executor)
    found = as_layer(layer, activation)
    channel = channel_of(found, None, settings)
    with progress_bar(progress) as tell, Runner(workers, executor, tell) as runner:
        without = pairwise.ei_parts_without(channel, runner)
        whole = pairwise.exact.ei_parts(channel, runner).edges
    return np.asarray(without - whole.sum(axis=1, keepdims=True)).reshape(found.edge_shape)
