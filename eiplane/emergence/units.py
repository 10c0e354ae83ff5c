"""The macro units of a layer: what :func:`eiplane.macro_units` returns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..files import json_text
from ..results import Joint
from ..results import between as between_text

__all__ = ["MacroUnit", "MacroUnits", "Neurons"]

Neurons = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MacroUnit:
    """A group of inputs and outputs of a layer that is taken for one unit; in bits.

    Parameters
    ----------
    inputs, outputs : tuple of int
        Places of the neurons.
    joint : Joint or None
        What :func:`eiplane.ei_between` finds between them; None where either is empty.
    ei_parts : float
        Sum of the EI of the edges inside the group.
    capacity : float
        ``log2`` of the number of states of the group's inputs.
    """

    inputs: Neurons
    outputs: Neurons
    joint: Joint | None
    ei_parts: float
    capacity: float

    @property
    def ei(self) -> float | None:
        """``I(X_G; Y_G)`` under ``do(L1 = Hmax)``; 0 where either is empty.

        None where no more is known than the bounds, ``joint.ei_bounds``.
        """
        return 0.0 if self.joint is None else self.joint.ei

    @property
    def ei_stderr(self) -> float | None:
        """Standard error of :attr:`ei`; None with it."""
        return 0.0 if self.joint is None else self.joint.ei_stderr

    @property
    def phi(self) -> float | None:
        """Integrated information of the group, ``ei - ei_parts``; exactly 0 of a single edge."""
        if len(self.inputs) == len(self.outputs) == 1:
            return 0.0
        return None if self.ei is None else self.ei - self.ei_parts

    @property
    def effectiveness(self) -> float | None:
        """``ei / capacity``; 0 without inputs."""
        if self.ei is None:
            return None
        return self.ei / self.capacity if self.capacity else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python numbers and lists."""
        numbers = ("ei", "ei_stderr", "ei_parts", "phi", "effectiveness")
        return {
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            **{name: getattr(self, name) for name in numbers},
        }


@dataclass(frozen=True, eq=False)
class MacroUnits(Sequence[MacroUnit]):
    """The macro units of a layer: a sequence of :class:`.MacroUnit`; in bits.

    Parameters
    ----------
    name : str
        Of the layer.
    units : tuple of MacroUnit
        Each neuron is in one of them.
    search : str
        What found them.
    """

    name: str
    units: tuple[MacroUnit, ...]
    search: str

    def __len__(self) -> int:
        return len(self.units)

    @overload
    def __getitem__(self, key: int) -> MacroUnit: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[MacroUnit, ...]: ...

    def __getitem__(self, key: int | slice) -> MacroUnit | tuple[MacroUnit, ...]:
        return self.units[key]

    def __iter__(self) -> Iterator[MacroUnit]:
        return iter(self.units)

    @property
    def phi(self) -> float | None:
        """Sum over the units: what the partition was chosen by. None where any is not known."""
        known = [unit.phi for unit in self.units if unit.phi is not None]
        return sum(known) if len(known) == len(self.units) else None

    @property
    def phi_stderr(self) -> float | None:
        """Standard error of :attr:`phi`, the units taken for independent."""
        if self.phi is None:
            return None
        return math.hypot(*(unit.ei_stderr or 0.0 for unit in self.units))

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "units_of": "bits",
            "name": self.name,
            "search": self.search,
            "phi": self.phi,
            "phi_stderr": self.phi_stderr,
            "units": [unit.to_dict() for unit in self.units],
        }

    def to_json(self) -> str:
        """Return the JSON text."""
        return json_text(self.to_dict())

    def __str__(self) -> str:
        head = ["inputs", "outputs", "EI", "EI_parts", "phi", "effectiveness"]
        rows = [
            [
                " ".join(map(str, unit.inputs)) or "-",
                " ".join(map(str, unit.outputs)) or "-",
                _text(unit),
                *(
                    "-" if v is None else f"{v:.4g}"
                    for v in (unit.ei_parts, unit.phi, unit.effectiveness)
                ),
            ]
            for unit in self.units
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        body = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in [head, ["-" * w for w in widths], *rows]
        ]
        return "\n".join([*body, f"{self.name}: {self.search} search"])


def _text(unit: MacroUnit) -> str:
    """Return what is known of the EI of a unit."""
    if unit.ei is not None:
        return f"{unit.ei:.4g}" + (f" ± {unit.ei_stderr:.1g}" if unit.ei_stderr else "")
    return "-" if unit.joint is None else between_text(*unit.joint.ei_bounds)
