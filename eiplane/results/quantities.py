"""The table of quantities: what a layer's result has, where it lives, and what it is called.

A quantity is one row of :class:`Quantities`. The properties of a :class:`LayerResult`, its
dictionary and data frame, the printed table, what :func:`eiplane.analyze` can be asked for, what a
tracker follows, the pictures' axes and the report's headings are all read from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import derived
from .measures import Joint, Pairwise, Totals, VectorBounds
from .quantity import Quantity

__all__ = ["MEASURES", "TABLE", "Quantities", "Quantity", "bounds_of", "error_of", "row_of"]

Array = NDArray[np.float64]
Bounds = tuple[float, float]


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
    pairwise_sensitivity: Pairwise | Totals | None
    pairwise_ei: Pairwise | Totals | None
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
        compute=lambda result: derived.less(result.sensitivity, result.ei_parts),
        doc="``sensitivity - ei_parts``.",
        needs=("sensitivity", "ei_parts"), heading="degeneracy", tracked=True,
    )  # fmt: skip
    degeneracy_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.degeneracy, result.sensitivity_stderr, result.ei_parts_stderr
        ),
        doc="Standard error of ``degeneracy``; 0 where exact.",
    )
    ei = Quantity[float](
        "joint.ei",
        doc="``I(L1; L2)`` of the whole binned vectors. None where ``saturated``: it is between "
        "``ei_bounds``, and no more is known. Of the plug-in the value is given all the same.",
        needs=("ei",), heading="EI", tracked=True, words="EI", symbol="$EI$",
    )  # fmt: skip
    ei_stderr = Quantity[float]("joint.ei_stderr", doc="Standard error of ``ei``.")
    ei_bounds = Quantity[Bounds](
        "joint.ei_bounds", "bounds.ei_bounds",
        doc="Rigorous bounds of ``ei``, but for four standard errors where they rest on samples.",
        needs=("bounds",),
    )  # fmt: skip
    phi = Quantity[float](
        compute=derived.phi,
        doc="Integrated information, ``ei - ei_parts``. Like is taken from like: from a plug-in "
        "``ei`` the plug-in ``ei_parts``, where that was sampled. None where ``ei`` is saturated.",
        needs=("ei_parts", "ei"), heading="phi", tracked=True,
        symbol=r"$\varphi = EI - EI_\mathrm{parts}$",
    )  # fmt: skip
    phi_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.phi, result.ei_stderr, result.ei_parts_stderr
        ),
        doc="Standard error of ``phi``: that of ``ei`` and of ``ei_parts`` together.",
    )
    phi_bounds = Quantity[Bounds](
        compute=derived.phi_bounds,
        doc="Rigorous bounds of ``phi``: those of ``ei`` less ``ei_parts``. Where ``ei_parts`` was "
        "sampled they are widened by four of its standard errors.",
        needs=("ei_parts", "bounds"),
    )
    degeneracy_joint = Quantity[float](
        compute=derived.degeneracy_joint,
        doc="``sensitivity - ei``. None where ``ei`` is saturated.",
        needs=("sensitivity", "ei"), tracked=True, words="joint degeneracy",
    )  # fmt: skip
    degeneracy_joint_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.degeneracy_joint, result.sensitivity_stderr, result.ei_stderr
        ),
        doc="Standard error of ``degeneracy_joint``.",
    )
    degeneracy_joint_bounds = Quantity[Bounds](
        compute=derived.degeneracy_joint_bounds,
        doc="Rigorous bounds of ``degeneracy_joint``, as those of ``phi``.",
    )
    output_entropy = Quantity[float](
        "joint.output_entropy",
        doc="``H(Y)`` of the binned output vector. None where too few of them were seen.",
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
        compute=derived.determinism,
        doc="``1 - H(Y | X) / (n_out log2(out_bins))``: how little is left open once the input is "
        "known (Hoel, Albantakis and Tononi, PNAS 110(49), 2013, eq. 3). None where ``ei`` is "
        "saturated.",
        unit="", needs=("ei",), tracked=True,
    )  # fmt: skip
    determinism_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.determinism,
            result.ei_stderr,
            result.output_entropy_stderr,
            whole=derived.of_outputs(result),
        ),
        doc="Standard error of ``determinism``. Those of ``ei`` and ``H(Y)`` are taken as "
        "independent: they rise and fall together, so it is at most this.",
        unit="",
    )
    determinism_bounds = Quantity[Bounds](
        compute=derived.determinism_bounds,
        doc="Rigorous bounds of ``determinism``, from those of ``ei`` and ``H(Y)``.", unit="",
    )  # fmt: skip
    specificity = Quantity[float](
        compute=derived.specificity,
        doc="``H(Y) / (n_out log2(out_bins))``, one less their degeneracy (Hoel, Albantakis and "
        "Tononi 2013); ``determinism + specificity - 1`` is ``ei / (n_out log2(out_bins))``. None "
        "where ``ei`` is saturated.",
        unit="", needs=("ei",), tracked=True,
    )  # fmt: skip
    specificity_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.specificity, result.output_entropy_stderr,
            whole=derived.of_outputs(result),
        ),
        doc="Standard error of ``specificity``.", unit="",
    )  # fmt: skip
    specificity_bounds = Quantity[Bounds](
        compute=derived.specificity_bounds, doc="Rigorous bounds of ``specificity``.", unit="",
    )  # fmt: skip
    redundancy_in = Quantity[float](
        compute=lambda result: derived.redundancy(result, result.influence_in),
        doc="``sum_A I(X_A; Y) / ei``, the share of ``ei`` that single inputs have by themselves: "
        "the rest is synergy of several (after Mattsson, Michaud and Hoel 2020, who take single "
        "outputs as well). At most 1, as inputs are independent. None where it is not known.",
        unit="", needs=("ei",), tracked=True,
        words="redundancy of the inputs",
    )  # fmt: skip
    redundancy_in_stderr = Quantity[float](
        compute=lambda result: derived.redundancy_stderr(
            result.redundancy_in, result, result.influence_in_stderr
        ),
        doc="Standard error of ``redundancy_in``, the influences' taken as independent.", unit="",
    )  # fmt: skip
    redundancy_out = Quantity[float](
        compute=lambda result: derived.redundancy(result, result.influence_out),
        doc="``sum_B I(X; Y_B) / ei``: above 1 where outputs say the same (after Mattsson, Michaud "
        "and Hoel 2020). None where it is not known.",
        unit="", needs=("ei",), tracked=True,
        words="redundancy of the outputs",
    )  # fmt: skip
    redundancy_out_stderr = Quantity[float](
        compute=lambda result: derived.redundancy_stderr(
            result.redundancy_out, result, result.influence_out_stderr
        ),
        doc="Standard error of ``redundancy_out``, the influences' taken as independent.", unit="",
    )  # fmt: skip
    effectiveness = Quantity[float](
        compute=derived.effectiveness,
        doc="``ei / (n_in log2(in_bins))``. None where ``ei`` is saturated.",
        unit="", needs=("ei",), heading="effectiveness", tracked=True,
    )  # fmt: skip
    effectiveness_stderr = Quantity[float](
        compute=lambda result: derived.together(
            result.effectiveness, result.ei_stderr,
            whole=derived.of_inputs(result),
        ),
        doc="Standard error of ``effectiveness``.", unit="",
    )  # fmt: skip
    effectiveness_bounds = Quantity[Bounds](
        compute=derived.effectiveness_bounds, doc="Rigorous bounds of ``effectiveness``.", unit="",
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
        "joint.saturated",
        doc="Whether ``ei`` is not known: too much to count, and nothing else applies.",
        unit="",
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
        compute=derived.error_bound,
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
        compute=derived.degeneracy_edges,
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
    influence_in_stderr = Quantity[Array](
        "joint.influence_in_stderr",
        doc="Standard error of every entry of ``influence_in``.",
        per="input",
    )
    influence_out_stderr = Quantity[Array](
        "joint.influence_out_stderr",
        doc="Standard error of every entry of ``influence_out``; 0 where exact.",
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
