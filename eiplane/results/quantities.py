"""The table of quantities: what a layer's result has, where it lives, and what it is called.

A quantity is one row of :class:`Quantities`. The properties of a :class:`LayerResult`, its
dictionary and data frame, the printed table, what :func:`eiplane.analyze` can be asked for, what a
tracker follows, the pictures' axes and the report's headings are all read from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, Literal, Never, NoReturn, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .measures import Joint, Pairwise, VectorBounds

__all__ = ["MEASURES", "TABLE", "Quantities", "Quantity", "bounds_of", "error_of", "row_of"]

Array = NDArray[np.float64]
Bounds = tuple[float, float]
T = TypeVar("T")


class Quantity(Generic[T]):
    r"""A row of the table: an attribute of a result, None where it was not measured.

    Its standard error is the quantity of the same name with ``_stderr`` after it, its rigorous
    bounds that with ``_bounds``, where the table has them.

    Parameters
    ----------
    *where : str
        Where it lives, as ``"part.attribute"``; of several the first part that was measured counts.
    doc : str
        What it is.
    compute : callable, optional
        Instead of ``where``: returns it from the result, or None.
    per : {"layer", "edge", "input", "output"}
        Of what each number is: anything but ``"layer"`` is an array.
    unit : str
        ``"bits"``, or ``""`` for shares, counts and words.
    needs : tuple of str
        The engines that :func:`eiplane.analyze` runs where its ``measures`` name this quantity; it
        cannot be asked for without any.
    heading : str, optional
        Of its column in the printed table; without one it has none.
    tracked : bool
        Whether a training's history follows it (an array: whether a tracker can keep it).
    words : str, optional
        What the report calls it; its name when left out.
    symbol : str, optional
        What pictures call it, without the unit; as ``words`` when left out.
    quiet : bool
        Whether pictures and pages leave it out where it is zero throughout.
    listed : bool
        Whether dictionaries and what is made of them (JSON, data frames, CSV, records) have it.

    Attributes
    ----------
    name : str
        That of the attribute.
    """

    name: str

    def __init__(
        self,
        *where: str,
        doc: str,
        compute: Callable[[Any], T | None] | None = None,
        per: Literal["layer", "edge", "input", "output"] = "layer",
        unit: str = "bits",
        needs: tuple[str, ...] = (),
        heading: str | None = None,
        tracked: bool = False,
        words: str | None = None,
        symbol: str | None = None,
        quiet: bool = False,
        listed: bool = True,
    ) -> None:
        self.where = tuple(tuple(place.split(".")) for place in where)
        self.__doc__ = doc
        self.compute = compute
        self.per = per
        self.unit = unit
        self.needs = needs
        self.heading = heading
        self.tracked = tracked
        self.quiet = quiet
        self.listed = listed
        self._words = words
        self._symbol = symbol

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @property
    def words(self) -> str:
        """What it is called in words."""
        return self.name.replace("_", " ") if self._words is None else self._words

    @property
    def label(self) -> str:
        """What a picture's axis says: the symbol, and the unit if there is one."""
        symbol = self.words if self._symbol is None else self._symbol
        return f"{symbol} ({self.unit})" if self.unit else symbol

    @overload
    def __get__(self, result: None, owner: type[Any]) -> Quantity[T]: ...
    @overload
    def __get__(self, result: Quantities, owner: type[Any]) -> T | None: ...
    def __get__(self, result: Quantities | None, owner: type[Any]) -> Quantity[T] | T | None:
        if result is None:
            return self
        if self.compute is not None:
            return self.compute(result)
        for part, attribute in self.where:
            measured = getattr(result, part)
            if measured is not None:
                value: T | None = getattr(measured, attribute)
                return value
        return None

    def __set__(self, result: Quantities, value: Never) -> NoReturn:
        # With it help() and documentation list the quantity as they list a property.
        raise AttributeError(f"{self.name} cannot be set: it follows from what was measured")

    def __repr__(self) -> str:
        return f"Quantity({self.name})"


def _phi(result: Quantities) -> float | None:
    if result.joint is None or result.pairwise_ei is None:
        return None
    plugin = result.joint.estimator == "plugin"
    return _less(result.ei, result.ei_parts_plugin if plugin else result.ei_parts)


def _phi_bounds(result: Quantities) -> Bounds | None:
    if result.ei_bounds is None or result.pairwise_ei is None:
        return None
    low, high = result.ei_bounds
    parts = result.pairwise_ei.total
    error = 4.0 * result.pairwise_ei.total_stderr
    if result.pairwise_ei.error_bound is not None:
        error += result.pairwise_ei.error_bound * result.pairwise_ei.edges.size
    return low - parts - error, high - parts + error


def _phi_stderr(result: Quantities) -> float | None:
    if result.ei_stderr is None or result.ei_parts_stderr is None:
        return None
    return math.hypot(result.ei_stderr, result.ei_parts_stderr)


def _degeneracy_edges(result: Quantities) -> Array | None:
    if result.pairwise_ei is None or result.pairwise_sensitivity is None:
        return None
    return result.pairwise_sensitivity.edges - result.pairwise_ei.edges


def _error_bound(result: Quantities) -> float | None:
    parts = (result.pairwise_ei, result.pairwise_sensitivity)
    bounds = [p.error_bound for p in parts if p is not None and p.error_bound is not None]
    return max(bounds) if bounds else None


def _effectiveness(result: Quantities) -> float | None:
    return None if result.ei is None else result.ei / (result.n_in * math.log2(result.in_bins))


def _trusted(result: Quantities) -> Joint | None:
    """Return the measures of whole vectors, unless they are worth nothing."""
    return None if result.joint is None or result.joint.saturated else result.joint


def _specificity(result: Quantities) -> float | None:
    joint = _trusted(result)
    if joint is None or joint.output_entropy is None:
        return None
    return joint.output_entropy / (result.n_out * math.log2(result.out_bins))


def _determinism(result: Quantities) -> float | None:
    joint, share = _trusted(result), _specificity(result)
    if joint is None or joint.ei is None or share is None:
        return None
    return 1.0 - share + joint.ei / (result.n_out * math.log2(result.out_bins))


def _redundancy(result: Quantities, influence: Array | None) -> float | None:
    joint = _trusted(result)
    if joint is None or influence is None or joint.ei is None or not joint.ei > 0.0:
        return None
    return float(influence.sum()) / joint.ei


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


class Quantities:
    """The table itself, in the order in which quantities are listed."""

    # What rows, and the printed table, read of a result.
    name: str
    n_in: int
    n_out: int
    activation: str
    in_bins: int
    out_bins: int
    in_range: tuple[float, float]
    range_source: str | None
    pairwise_sensitivity: Pairwise | None
    pairwise_ei: Pairwise | None
    joint: Joint | None
    bounds: VectorBounds | None

    sensitivity = Quantity[float](
        "pairwise_sensitivity.total",
        doc="Sum of ``sensitivity_edges``.",
        needs=("sensitivity",), heading="sensitivity", tracked=True,
    )  # fmt: skip
    sensitivity_stderr = Quantity[float](
        "pairwise_sensitivity.total_stderr",
        doc="Standard error of ``sensitivity``; 0 where exact.",
    )
    sensitivity_plugin = Quantity[float](
        "pairwise_sensitivity.total_plugin",
        doc="``sensitivity`` without correction for bias; the same where exact.",
    )
    ei_parts = Quantity[float](
        "pairwise_ei.total",
        doc="Sum of ``ei_edges``.",
        needs=("ei_parts",), heading="EI_parts", tracked=True,
        words="EI of the parts", symbol=r"$EI_\mathrm{parts}$",
    )  # fmt: skip
    ei_parts_stderr = Quantity[float](
        "pairwise_ei.total_stderr",
        doc="Standard error of ``ei_parts``; 0 where exact.",
    )
    ei_parts_plugin = Quantity[float](
        "pairwise_ei.total_plugin",
        doc="``ei_parts`` without correction for bias, as in the paper; the same where exact.",
    )
    degeneracy = Quantity[float](
        compute=lambda result: _less(result.sensitivity, result.ei_parts),
        doc="``sensitivity - ei_parts``.",
        needs=("sensitivity", "ei_parts"), heading="degeneracy", tracked=True,
    )  # fmt: skip
    ei = Quantity[float](
        "joint.ei",
        doc="``I(L1; L2)`` of the whole binned vectors.",
        needs=("ei",), heading="EI", tracked=True, words="EI", symbol="$EI$",
    )  # fmt: skip
    ei_stderr = Quantity[float]("joint.ei_stderr", doc="Standard error of ``ei``.")
    ei_bounds = Quantity[Bounds](
        "joint.ei_bounds", "bounds.ei_bounds",
        doc="Rigorous bounds of ``ei``, but for four standard errors where they rest on samples.",
        needs=("bounds",),
    )  # fmt: skip
    phi = Quantity[float](
        compute=_phi,
        doc="Integrated information, ``ei - ei_parts``. Like is taken from like: from a plug-in "
        "``ei`` the plug-in ``ei_parts``, where that was sampled.",
        needs=("ei_parts", "ei"), heading="phi", tracked=True,
        symbol=r"$\varphi = EI - EI_\mathrm{parts}$",
    )  # fmt: skip
    phi_stderr = Quantity[float](
        compute=_phi_stderr,
        doc="Standard error of ``phi``: that of ``ei`` and of ``ei_parts`` together.",
    )
    phi_bounds = Quantity[Bounds](
        compute=_phi_bounds,
        doc="Rigorous bounds of ``phi``: those of ``ei`` less ``ei_parts``. Where ``ei_parts`` was "
        "sampled they are widened by four of its standard errors.",
        needs=("ei_parts", "bounds"),
    )
    degeneracy_joint = Quantity[float](
        compute=lambda result: _less(result.sensitivity, result.ei),
        doc="``sensitivity - ei``.",
        needs=("sensitivity", "ei"), tracked=True, words="joint degeneracy",
    )  # fmt: skip
    output_entropy = Quantity[float](
        "joint.output_entropy",
        doc="``H(Y)`` of the binned output vector.",
        needs=("ei",), heading="H(Y)", tracked=True, symbol="output entropy $H(Y)$",
    )  # fmt: skip
    output_entropy_stderr = Quantity[float](
        "joint.output_entropy_stderr", doc="Standard error of ``output_entropy``."
    )
    output_entropy_bounds = Quantity[Bounds](
        "joint.output_entropy_bounds", "bounds.output_entropy_bounds",
        doc="Rigorous bounds of ``output_entropy``, as those of ``ei``.",
        needs=("bounds",),
    )  # fmt: skip
    determinism = Quantity[float](
        compute=_determinism,
        doc="``1 - H(Y | X) / (n_out log2(out_bins))``: how little is left open once the input is "
        "known (Hoel, Albantakis and Tononi, PNAS 110(49), 2013, eq. 3). None where ``ei`` is "
        "saturated.",
        unit="", needs=("ei",), tracked=True,
    )  # fmt: skip
    specificity = Quantity[float](
        compute=_specificity,
        doc="``H(Y) / (n_out log2(out_bins))``, one less their degeneracy (Hoel, Albantakis and "
        "Tononi 2013); ``determinism + specificity - 1`` is ``ei / (n_out log2(out_bins))``. None "
        "where ``ei`` is saturated.",
        unit="", needs=("ei",), tracked=True,
    )  # fmt: skip
    redundancy_in = Quantity[float](
        compute=lambda result: _redundancy(result, result.influence_in),
        doc="``sum_A I(X_A; Y) / ei``, the share of ``ei`` that single inputs have by themselves: "
        "the rest is synergy of several (after Mattsson, Michaud and Hoel 2020, who take single "
        "outputs as well). At most 1, as inputs are independent. None where it is not known.",
        unit="",
        needs=("ei",),
    )
    redundancy_out = Quantity[float](
        compute=lambda result: _redundancy(result, result.influence_out),
        doc="``sum_B I(X; Y_B) / ei``: above 1 where outputs say the same (after Mattsson, Michaud "
        "and Hoel 2020). None where it is not known.",
        unit="",
        needs=("ei",),
    )
    effectiveness = Quantity[float](
        compute=_effectiveness,
        doc="``ei / (n_in log2(in_bins))``.",
        unit="", needs=("ei",), heading="effectiveness", tracked=True,
    )  # fmt: skip
    ei_samples = Quantity[int](
        "joint.samples", doc="Number of evaluations for ``ei``; 0 where it is exact.", unit=""
    )
    coverage = Quantity[float](
        "joint.coverage",
        doc="Estimated share of the output distribution that the sample has seen.",
        unit="",
    )
    saturated = Quantity[bool](
        "joint.saturated", doc="Whether the sample was too small for ``ei``.", unit=""
    )
    converged = Quantity[bool](
        "joint.converged", doc="Whether ``ei`` reached ``tol``; None where none was asked for.",
        unit="",
    )  # fmt: skip
    method = Quantity[str](
        "pairwise_ei.method", "pairwise_sensitivity.method",
        doc='How the pairwise measures were found: ``"exact"`` or ``"sample"``.', unit="",
    )  # fmt: skip
    samples = Quantity[int](
        "pairwise_ei.samples", "pairwise_sensitivity.samples",
        doc="Number of samples of the pairwise measures; None where exact.", unit="",
    )  # fmt: skip
    error_bound = Quantity[float](
        compute=_error_bound,
        doc="Greatest error of any exact edge, in bits; None where sampled.",
    )
    outlier_fraction = Quantity[float](
        "pairwise_ei.outlier_fraction", "joint.outlier_fraction",
        "pairwise_sensitivity.outlier_fraction",
        doc="Share of the outputs' values outside the output range, every input perturbed.",
        unit="", tracked=True, words="share out of range", quiet=True,
    )  # fmt: skip
    sensitivity_edges = Quantity[Array](
        "pairwise_sensitivity.edges",
        doc="``I(x_A; y_B)`` with only A perturbed, the shape of the weight.",
        per="edge", tracked=True, symbol="sensitivity of the edge",
    )  # fmt: skip
    ei_edges = Quantity[Array](
        "pairwise_ei.edges",
        doc="``I(x_A; y_B)`` with every input perturbed, the shape of the weight.",
        per="edge", tracked=True, symbol="$EI$ of the edge",
    )  # fmt: skip
    degeneracy_edges = Quantity[Array](
        compute=_degeneracy_edges,
        doc="Edge by edge, sensitivity less EI.",
        per="edge", tracked=True, symbol="degeneracy of the edge",
    )  # fmt: skip
    sensitivity_edges_stderr = Quantity[Array](
        "pairwise_sensitivity.edges_stderr",
        doc="Standard error of every entry of ``sensitivity_edges``; None where exact.",
        per="edge",
    )
    ei_edges_stderr = Quantity[Array](
        "pairwise_ei.edges_stderr",
        doc="Standard error of every entry of ``ei_edges``; None where exact.",
        per="edge",
    )
    sensitivity_edges_plugin = Quantity[Array](
        "pairwise_sensitivity.edges_plugin",
        doc="``sensitivity_edges`` without correction for bias; None where exact.",
        per="edge", listed=False,
    )  # fmt: skip
    ei_edges_plugin = Quantity[Array](
        "pairwise_ei.edges_plugin",
        doc="``ei_edges`` without correction for bias, as in the paper; None where exact.",
        per="edge", listed=False,
    )  # fmt: skip
    influence_in = Quantity[Array](
        "joint.influence_in",
        doc="``I(X_A; Y)`` of each input with the whole output, shape (n_in,).",
        per="input",
    )
    influence_out = Quantity[Array](
        "joint.influence_out",
        doc="``I(X; Y_B)`` of the whole input with each output, shape (n_out,).",
        per="output",
    )


#: Every quantity, in the table's order.
TABLE: tuple[Quantity[Any], ...] = tuple(
    row for row in vars(Quantities).values() if isinstance(row, Quantity)
)

_BY_NAME = {row.name: row for row in TABLE}

#: What can be asked for, and which engines that takes.
MEASURES: dict[str, tuple[str, ...]] = {row.name: row.needs for row in TABLE if row.needs}

#: All bounds at once, those of phi with what they take.
MEASURES["bounds"] = ("ei_parts", "bounds")


def row_of(name: str) -> Quantity[Any]:
    """Return a quantity by its name; KeyError if there is none."""
    return _BY_NAME[name]


def error_of(name: str) -> Quantity[Any] | None:
    """Return a quantity's standard error, which is a quantity too; None if it has none."""
    return _BY_NAME.get(f"{name}_stderr")


def bounds_of(name: str) -> Quantity[Any] | None:
    """Return a quantity's rigorous bounds, which are a quantity too; None if it has none."""
    return _BY_NAME.get(f"{name}_bounds")
