"""How estimates settle as the sample grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..joint import Convergence
from .names import shown_name
from .style import ERRORS, QUIET, looks, make_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["convergence"]

#: How each quantity is drawn and called.
_LINES = {
    "wide": ("-.", "EI, wide"),
    "conditional": ("-", "EI, conditional"),
    "plugin": ("--", "EI, plug-in"),
    "ei_parts": (":", r"$EI_\mathrm{parts}$"),
}


def convergence(
    source: Convergence | Sequence[Convergence],
    ax: Axes | None = None,
    *,
    band: float = ERRORS,
    legend: bool = True,
) -> Axes:
    """Draw estimates against the number of samples.

    Parameters
    ----------
    source : Convergence or sequence of Convergence
        From :func:`eiplane.convergence`; several layers get a colour each.
    ax : Axes, optional
    band : float
        Half width of the shaded bands, in standard errors; 0 for none.
    legend : bool

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    layers = [source] if isinstance(source, Convergence) else list(source)
    if not layers:
        raise ValueError("there is nothing to draw: no layers were given")
    ax = make_axes(ax, (6.4, 4.4))
    for layer, look in zip(layers, looks(len(layers)), strict=True):
        for quantity, values in layer.values.items():
            style, title = _LINES[quantity]
            label = title if len(layers) == 1 else f"{shown_name(layer.name)}: {title}"
            ax.plot(layer.samples, values, style, color=look.color, marker=look.marker, ms=3.5,
                    lw=1.4, label=label)  # fmt: skip
            if band > 0.0:
                half = band * layer.stderr[quantity]
                low, high = np.maximum(values - half, 0.0), values + half
                ax.fill_between(layer.samples, low, high, color=look.color, alpha=0.12, lw=0)
    ax.set_xscale("log")
    ax.set_ylim(bottom=0.0, top=1.15 * _top(layers))
    ax.set_xlabel("samples")
    ax.set_ylabel("bits")
    ax.grid(color=QUIET, alpha=0.3, lw=0.5)
    tidy(ax)
    if legend:
        ax.legend(frameon=False, fontsize="small")
    return ax


def _top(layers: Sequence[Convergence]) -> float:
    """Return the greatest value: bands may be far wider."""
    values: list[Any] = [v for layer in layers for v in layer.values.values()]
    return max([float(v[np.isfinite(v)].max(initial=1e-3)) for v in values])
