"""What the page says in words: counts, lists, and what each quantity means."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import row_of

__all__ = ["counted", "listed", "meaning"]

#: What quantities mean, for a reader who has nothing but the page; of others their own words do.
_MEANINGS = {
    "sensitivity": "I(input; output) with that input alone perturbed, every other one held at the "
    "baseline, summed over all edges.",
    "ei_parts": "I(input; output) with every input perturbed at once, summed over all edges.",
    "degeneracy": "Sensitivity less EI of the parts: what edges would say alone and do not say "
    "among the others. Negative where an output that is stuck at the baseline is set free by the "
    "noise of the other inputs.",
    "ei": "Effective information: I(all inputs; all outputs) of the binned vectors with every "
    "input perturbed.",
    "phi": "Integrated information, EI less EI of the parts: what the layer says as a whole beyond "
    "its edges taken one by one. Negative where outputs say the same.",
    "degeneracy_joint": "Sensitivity less EI.",
    "output_entropy": "H(Y) of all binned outputs together: what EI tends to as the bins of the "
    "inputs get ever finer.",
    "effectiveness": "EI over the entropy of the perturbation, n_in log2(in_bins): the share of it "
    "that gets through.",
    "redundancy_in": "I(one input; all outputs), summed over the inputs, over EI: at most 1, as "
    "inputs are independent; the rest is said by several together.",
    "redundancy_out": "I(all inputs; one output), summed over the outputs, over EI: above 1 where "
    "outputs say the same.",
    "ei_edges": "I(input; output) with every input perturbed.",
    "sensitivity_edges": "I(input; output) with that input alone perturbed, the others at the "
    "baseline.",
    "influence_in": "I(one input; all outputs) with every input perturbed.",
    "influence_out": "I(all inputs; one output) with every input perturbed.",
}

_CALLED = {
    "ei_edges": "EI of an edge",
    "sensitivity_edges": "sensitivity of an edge",
    "influence_in": "influence of an input",
    "influence_out": "influence of an output",
}


def meaning(name: str) -> tuple[str, str]:
    """Return what a quantity is called, with its unit, and what it means.

    Parameters
    ----------
    name : str

    Returns
    -------
    called, text : str
    """
    row = row_of(name)
    called = _CALLED.get(name, row.words)
    text = _MEANINGS.get(name) or str(row.__doc__).replace("``", "").replace("None ", "Not known ")
    return f"{called} ({row.unit})" if row.unit else called, text


def counted(count: int, noun: str) -> str:
    """Return ``1 layer`` or ``2,000 layers``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    first, last = ", ".join(names[:-1]), "".join(names[-1:])
    return f"{first} and {last}" if first else last
