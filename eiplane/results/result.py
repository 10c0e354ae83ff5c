"""What an analysis returns: frozen, in bits, easy to print and to keep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ..files import require, write_whole

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Decomposition", "Joint", "LayerResult", "Pairwise", "Skipped", "load"]

Array = NDArray[np.float64]

#: Of the files that :meth:`Decomposition.save` writes.
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Pairwise:
    """A measure of every edge of a layer, in bits.

    Parameters
    ----------
    edges : ndarray of float64, the shape of the weight
        The mutual information of every edge. Where it was sampled, the estimate is corrected for
        its bias as Miller and Madow have it (*Note on the bias of information estimates*, 1955):
        the plug-in value less ``(K_xy - K_x - K_y + 1) / (2 samples ln 2)``, K being the numbers of
        occupied cells. A few per cent of the bias can stay where some output bin is seen a few
        times only. An edge without information is then 0 on average, so it may come
        out a little below.
    method : str
        ``"exact"`` or ``"sample"``.
    samples : int or None
        The number of samples; None where exact.
    stderr : float or None
        Standard error of the sum, covariances between edges included; None where exact.
    edges_stderr : ndarray or None
        Standard error of every edge; None where exact.
    edges_plugin : ndarray or None
        The uncorrected estimates, those of the paper; None where exact.
    error_bound : float or None
        Where exact: the greatest error of any edge, in bits.
    outlier_fraction : float
        Share of the outputs' values that lay outside the output range.
    """

    edges: Array
    method: str
    samples: int | None = None
    stderr: float | None = None
    edges_stderr: Array | None = None
    edges_plugin: Array | None = None
    error_bound: float | None = None
    outlier_fraction: float = 0.0

    @property
    def total(self) -> float:
        """Sum over the edges, in bits."""
        return float(self.edges.sum())

    @property
    def total_plugin(self) -> float:
        """Sum of the uncorrected edges, in bits; of the exact ones where nothing was sampled."""
        return float((self.edges if self.edges_plugin is None else self.edges_plugin).sum())


@dataclass(frozen=True, eq=False)
class Joint:
    """Measures of whole binned vectors, in bits.

    Parameters
    ----------
    ei : float
        ``I(L1; L2)`` under ``do(L1 = Hmax)``.
    ei_stderr : float
        Its standard error.
    ei_bounds : tuple of float
        Rigorous lower and upper bound.
    output_entropy : float
        ``H(Y)`` of the binned output vector.
    output_entropy_stderr : float
        Its standard error.
    estimator : str
        ``"conditional"`` or ``"plugin"``.
    samples : int
        Number of evaluations of the layer.
    coverage : float
        ``1 - f1 / N``: the estimated share of the output distribution that the sample has seen.
    saturated : bool
        Whether the sample is too small for this entropy: the estimate then says little.
    converged : bool or None
        Whether ``tol`` was reached; None where none was asked for.
    influence_in : ndarray of float64, shape (n_in,), or None
        ``I(X_A; Y)`` of each input with the whole output.
    influence_out : ndarray of float64, shape (n_out,), or None
        ``I(X; Y_B)`` of the whole input with each output.
    outlier_fraction : float
        Share of the samples with any output outside the output range.
    influence_in_stderr, influence_out_stderr : ndarray of float64 or None
        Standard errors of the influences.
    """

    ei: float
    ei_stderr: float
    ei_bounds: tuple[float, float]
    output_entropy: float
    output_entropy_stderr: float
    estimator: str
    samples: int
    coverage: float
    saturated: bool
    converged: bool | None = None
    influence_in: Array | None = None
    influence_out: Array | None = None
    outlier_fraction: float = 0.0
    influence_in_stderr: Array | None = None
    influence_out_stderr: Array | None = None


@dataclass(frozen=True)
class Skipped:
    """A part of a network that was not analysed.

    Parameters
    ----------
    name : str
    reason : str
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class LayerResult:
    """The decomposition of one layer. Every quantity is in bits, or None if it was not asked for.

    Parameters
    ----------
    name : str
    n_in, n_out : int
    activation : str
    in_bins, out_bins : int
    in_range, out_range : tuple of float
    outliers : str
        ``"clip"`` or ``"drop"``.
    pairwise_sensitivity, pairwise_ei : Pairwise or None
        The two pairwise measures, with method and errors.
    joint : Joint or None
        The measures of whole vectors.
    """

    name: str
    n_in: int
    n_out: int
    activation: str
    in_bins: int
    out_bins: int
    in_range: tuple[float, float]
    out_range: tuple[float, float]
    outliers: str = "clip"
    pairwise_sensitivity: Pairwise | None = field(default=None, repr=False)
    pairwise_ei: Pairwise | None = field(default=None, repr=False)
    joint: Joint | None = field(default=None, repr=False)

    @property
    def ei_edges(self) -> Array | None:
        """``I(x_A; y_B)`` with every input perturbed, the shape of the weight."""
        return None if self.pairwise_ei is None else self.pairwise_ei.edges

    @property
    def sensitivity_edges(self) -> Array | None:
        """``I(x_A; y_B)`` with only A perturbed, the shape of the weight."""
        return None if self.pairwise_sensitivity is None else self.pairwise_sensitivity.edges

    @property
    def degeneracy_edges(self) -> Array | None:
        """Edge by edge, sensitivity less EI."""
        if self.pairwise_ei is None or self.pairwise_sensitivity is None:
            return None
        return self.pairwise_sensitivity.edges - self.pairwise_ei.edges

    @property
    def ei_edges_stderr(self) -> Array | None:
        """Standard error of every entry of ``ei_edges``; None where exact."""
        return None if self.pairwise_ei is None else self.pairwise_ei.edges_stderr

    @property
    def sensitivity_edges_stderr(self) -> Array | None:
        """Standard error of every entry of ``sensitivity_edges``; None where exact."""
        return None if self.pairwise_sensitivity is None else self.pairwise_sensitivity.edges_stderr

    @property
    def ei_edges_plugin(self) -> Array | None:
        """``ei_edges`` without correction for bias, as in the paper; None where exact."""
        return None if self.pairwise_ei is None else self.pairwise_ei.edges_plugin

    @property
    def sensitivity_edges_plugin(self) -> Array | None:
        """``sensitivity_edges`` without correction for bias; None where exact."""
        return None if self.pairwise_sensitivity is None else self.pairwise_sensitivity.edges_plugin

    @property
    def ei_parts(self) -> float | None:
        """Sum of ``ei_edges``."""
        return None if self.pairwise_ei is None else self.pairwise_ei.total

    @property
    def ei_parts_plugin(self) -> float | None:
        """``ei_parts`` without correction for bias, as in the paper; the same where exact."""
        return None if self.pairwise_ei is None else self.pairwise_ei.total_plugin

    @property
    def ei_parts_stderr(self) -> float | None:
        """Standard error of ``ei_parts``; 0 where exact."""
        return None if self.pairwise_ei is None else self.pairwise_ei.stderr or 0.0

    @property
    def sensitivity(self) -> float | None:
        """Sum of ``sensitivity_edges``."""
        return None if self.pairwise_sensitivity is None else self.pairwise_sensitivity.total

    @property
    def sensitivity_plugin(self) -> float | None:
        """``sensitivity`` without correction for bias; the same where exact."""
        return None if self.pairwise_sensitivity is None else self.pairwise_sensitivity.total_plugin

    @property
    def sensitivity_stderr(self) -> float | None:
        """Standard error of ``sensitivity``; 0 where exact."""
        if self.pairwise_sensitivity is None:
            return None
        return self.pairwise_sensitivity.stderr or 0.0

    @property
    def degeneracy(self) -> float | None:
        """``sensitivity - ei_parts``."""
        return _difference(self.sensitivity, self.ei_parts)

    @property
    def ei(self) -> float | None:
        """``I(L1; L2)`` of the whole binned vectors."""
        return None if self.joint is None else self.joint.ei

    @property
    def ei_stderr(self) -> float | None:
        """Standard error of ``ei``."""
        return None if self.joint is None else self.joint.ei_stderr

    @property
    def ei_bounds(self) -> tuple[float, float] | None:
        """Rigorous bounds of ``ei``."""
        return None if self.joint is None else self.joint.ei_bounds

    @property
    def output_entropy(self) -> float | None:
        """``H(Y)`` of the binned output vector."""
        return None if self.joint is None else self.joint.output_entropy

    @property
    def output_entropy_stderr(self) -> float | None:
        """Standard error of ``output_entropy``."""
        return None if self.joint is None else self.joint.output_entropy_stderr

    @property
    def ei_samples(self) -> int | None:
        """Number of evaluations for ``ei``; 0 where it is exact."""
        return None if self.joint is None else self.joint.samples

    @property
    def converged(self) -> bool | None:
        """Whether ``ei`` reached ``tol``; None where none was asked for."""
        return None if self.joint is None else self.joint.converged

    @property
    def saturated(self) -> bool | None:
        """Whether the sample was too small for ``ei``."""
        return None if self.joint is None else self.joint.saturated

    @property
    def coverage(self) -> float | None:
        """Estimated share of the output distribution that the sample has seen."""
        return None if self.joint is None else self.joint.coverage

    @property
    def influence_in(self) -> Array | None:
        """``I(X_A; Y)`` of each input with the whole output, shape (n_in,)."""
        return None if self.joint is None else self.joint.influence_in

    @property
    def influence_out(self) -> Array | None:
        """``I(X; Y_B)`` of the whole input with each output, shape (n_out,)."""
        return None if self.joint is None else self.joint.influence_out

    @property
    def phi(self) -> float | None:
        """Integrated information, ``ei - ei_parts``.

        Like is taken from like: from a plug-in ``ei`` the plug-in ``ei_parts``, where that was
        sampled.
        """
        if self.joint is None or self.pairwise_ei is None:
            return None
        if self.joint.estimator == "plugin":
            return self.joint.ei - self.pairwise_ei.total_plugin
        return self.joint.ei - self.pairwise_ei.total

    @property
    def phi_bounds(self) -> tuple[float, float] | None:
        """Rigorous bounds of ``phi``: those of ``ei`` less ``ei_parts``.

        Where ``ei_parts`` was sampled they are widened by four of its standard errors.
        """
        if self.joint is None or self.pairwise_ei is None:
            return None
        low, high = self.joint.ei_bounds
        parts = self.pairwise_ei.total
        error = 4.0 * (self.pairwise_ei.stderr or 0.0)
        return low - parts - error, high - parts + error

    @property
    def phi_stderr(self) -> float | None:
        """Standard error of ``phi``: that of ``ei`` and of ``ei_parts`` together."""
        if self.joint is None or self.pairwise_ei is None:
            return None
        return math.hypot(self.joint.ei_stderr, self.pairwise_ei.stderr or 0.0)

    @property
    def degeneracy_joint(self) -> float | None:
        """``sensitivity - ei``."""
        return _difference(self.sensitivity, self.ei)

    @property
    def effectiveness(self) -> float | None:
        """``ei / (n_in log2(in_bins))``."""
        if self.joint is None:
            return None
        return self.joint.ei / (self.n_in * math.log2(self.in_bins))

    @property
    def method(self) -> str | None:
        """How the pairwise measures were found: ``"exact"`` or ``"sample"``."""
        for part in (self.pairwise_ei, self.pairwise_sensitivity):
            if part is not None:
                return part.method
        return None

    @property
    def samples(self) -> int | None:
        """Number of samples of the pairwise measures; None where exact."""
        for part in (self.pairwise_ei, self.pairwise_sensitivity):
            if part is not None:
                return part.samples
        return None

    @property
    def error_bound(self) -> float | None:
        """Greatest error of any exact edge, in bits; None where sampled."""
        bounds = [
            part.error_bound
            for part in (self.pairwise_ei, self.pairwise_sensitivity)
            if part is not None and part.error_bound is not None
        ]
        return max(bounds) if bounds else None

    @property
    def outlier_fraction(self) -> float | None:
        """Share of the outputs' values outside the output range, every input perturbed."""
        for part in (self.pairwise_ei, self.joint, self.pairwise_sensitivity):
            if part is not None:
                return part.outlier_fraction
        return None

    def to_dict(self, edges: bool = True) -> dict[str, Any]:
        """Return plain Python numbers and lists, absent quantities left out.

        Parameters
        ----------
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        dict
        """
        names = [*_IDENTITY, *_SCALARS, *(_ARRAYS if edges else ())]
        values = {name: getattr(self, name) for name in names}
        return {k: _plain(v) for k, v in values.items() if v is not None}

    def __str__(self) -> str:
        return str(Decomposition((self,)))


_IDENTITY = (
    "name", "n_in", "n_out", "activation", "in_bins", "out_bins", "in_range", "out_range",
    "outliers",
)  # fmt: skip
_SCALARS = (
    "sensitivity", "sensitivity_stderr", "sensitivity_plugin",
    "ei_parts", "ei_parts_stderr", "ei_parts_plugin", "degeneracy",
    "ei", "ei_stderr", "ei_bounds", "phi", "phi_stderr", "phi_bounds", "degeneracy_joint",
    "output_entropy", "output_entropy_stderr", "effectiveness",
    "ei_samples", "coverage", "saturated", "converged",
    "method", "samples", "error_bound", "outlier_fraction",
)  # fmt: skip
_ARRAYS = (
    "sensitivity_edges", "ei_edges", "degeneracy_edges", "sensitivity_edges_stderr",
    "ei_edges_stderr", "influence_in", "influence_out",
)  # fmt: skip


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


#: Columns of the printed table: heading, attribute, error's attribute.
_COLUMNS = (
    ("sensitivity", "sensitivity", "sensitivity_stderr"),
    ("EI_parts", "ei_parts", "ei_parts_stderr"),
    ("degeneracy", "degeneracy", None),
    ("EI", "ei", "ei_stderr"),
    ("phi", "phi", "phi_stderr"),
    ("H(Y)", "output_entropy", "output_entropy_stderr"),
    ("effectiveness", "effectiveness", None),
)


@dataclass(frozen=True, eq=False)
class Decomposition(Sequence[LayerResult]):
    """The causal decomposition of a network: a sequence of :class:`LayerResult`.

    Parameters
    ----------
    layers : tuple of LayerResult
        In order of execution.
    skipped : tuple of Skipped
        What could not be analysed, and why.
    settings : dict
        The options that made it, as plain values.
    """

    layers: tuple[LayerResult, ...]
    skipped: tuple[Skipped, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerResult]:
        return iter(self.layers)

    @overload
    def __getitem__(self, key: int | str) -> LayerResult: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[LayerResult, ...]: ...
    def __getitem__(self, key: int | str | slice) -> LayerResult | tuple[LayerResult, ...]:
        if isinstance(key, str):
            for layer in self.layers:
                if layer.name == key:
                    return layer
            raise KeyError(f"no layer {key!r}; there are {', '.join(x.name for x in self.layers)}")
        return self.layers[key]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of the printed table.

        Returns
        -------
        headings : list of str
        rows : list of list of str
        """
        columns = [c for c in _COLUMNS if any(getattr(x, c[1]) is not None for x in self.layers)]
        rows = []
        for layer in self.layers:
            shape = f"{layer.n_in}→{layer.n_out}"
            cells = [layer.name, shape, layer.activation, layer.method or "-"]
            for _, value, error in columns:
                cells.append(
                    _number(getattr(layer, value), getattr(layer, error) if error else None)
                )
            if layer.saturated:
                cells[0] += " (saturated)"
            rows.append(cells)
        return ["layer", "shape", "activation", "method", *(c[0] for c in columns)], rows

    def __str__(self) -> str:
        headings, rows = self.table()
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        lines = []
        for cells in [headings, ["-" * w for w in widths], *rows]:
            left = [c.ljust(w) for c, w in zip(cells[:4], widths, strict=False)]
            right = [c.rjust(w) for c, w in zip(cells[4:], widths[4:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        lines += [f"skipped {s.name}: {s.reason}" for s in self.skipped]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        headings, rows = self.table()
        head = "".join(f"<th>{escape(h)}</th>" for h in headings)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>" for cells in rows
        )
        skipped = "".join(f"<li>{escape(s.name)}: {escape(s.reason)}</li>" for s in self.skipped)
        table = (
            f"<table><caption>Causal decomposition, bits</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )
        return table + (f"<p>Skipped:</p><ul>{skipped}</ul>" if skipped else "")

    def to_dict(self, edges: bool = True) -> dict[str, Any]:
        """Return plain Python values, ready for JSON.

        Parameters
        ----------
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        dict
        """
        return {
            "units": "bits",
            "settings": dict(self.settings),
            "layers": [layer.to_dict(edges) for layer in self.layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
        }

    def to_json(self, path: str | Path | None = None, edges: bool = True) -> str:
        """Return the JSON text, and write it if a path is given.

        Parameters
        ----------
        path : path-like, optional
            Written whole or not at all.
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        str
        """
        text = json.dumps(self.to_dict(edges), indent=2, allow_nan=False)
        if path is not None:
            write_whole(path, lambda file: file.write(text.encode()))
        return text

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas data frame, a row a layer, indexed by its name.

        Raises
        ------
        ImportError
            If pandas is missing (``pip install "eiplane[pandas]"``).
        """
        pd = require("pandas", "pandas")
        rows = [layer.to_dict(edges=False) for layer in self.layers]
        return pd.DataFrame(rows).set_index("name")

    def save(self, path: str | Path) -> None:
        """Write everything to an npz file; :func:`eiplane.load` reads it back.

        Parameters
        ----------
        path : path-like
            Written whole or not at all.
        """
        arrays: dict[str, Any] = {}
        layers = [_pack(layer, f"{i}", arrays) for i, layer in enumerate(self.layers)]
        header = {
            "format": FORMAT,
            "settings": self.settings,
            "skipped": [[s.name, s.reason] for s in self.skipped],
            "layers": layers,
        }
        arrays["header"] = np.array(json.dumps(header))
        write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the layers in the causal plane; see :func:`eiplane.plot.causal_plane`."""
        from ..plot import causal_plane

        axes: Axes = causal_plane(self, ax=ax, **options)
        return axes


def _number(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    if error:  # to the error's first digit
        decimals = max(0, -math.floor(math.log10(error)))
        return f"{value:.{decimals}f} ± {error:.{decimals}f}"
    return f"{value:.4g}"


_PARTS = {"pairwise_sensitivity": Pairwise, "pairwise_ei": Pairwise, "joint": Joint}


def _pack(value: Any, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as JSON values; arrays go to ``arrays`` under a key of their own."""
    out: dict[str, Any] = {}
    for f in fields(value):
        item = getattr(value, f.name)
        if isinstance(item, np.ndarray):
            arrays[f"{prefix}/{f.name}"] = item
            item = {"array": f"{prefix}/{f.name}"}
        elif f.name in _PARTS and item is not None:
            item = _pack(item, f"{prefix}/{f.name}", arrays)
        out[f.name] = _plain(item)
    return out


def _unpack(kind: type[Any], packed: dict[str, Any], arrays: Any) -> Any:
    out: dict[str, Any] = {}
    for key, item in packed.items():
        if isinstance(item, dict) and set(item) == {"array"}:
            item = arrays[item["array"]]
        elif key in _PARTS and item is not None:
            item = _unpack(_PARTS[key], item, arrays)
        elif isinstance(item, list):
            item = tuple(item)
        out[key] = item
    return kind(**out)


def load(path: str | Path) -> Decomposition:
    """Read what :meth:`Decomposition.save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Decomposition

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(str(arrays["header"]))
            if header["format"] > FORMAT:
                raise ValueError(f"it has format {header['format']}, newer than this version's")
            layers = tuple(_unpack(LayerResult, x, arrays) for x in header["layers"])
            skipped = tuple(Skipped(*s) for s in header["skipped"])
            return Decomposition(layers, skipped, header["settings"])
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a decomposition that eiplane saved: {error}") from error
