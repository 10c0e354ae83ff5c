"""The two measures of edges."""

from __future__ import annotations

from typing import Literal

__all__ = ["Measure"]

#: ``I(x_A; y_B)`` of every edge: ``"ei_parts"`` with all inputs perturbed, ``"sensitivity"`` with
#: input A perturbed alone.
Measure = Literal["ei_parts", "sensitivity"]
