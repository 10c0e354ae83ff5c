"""Taking edges and neurons away, and what it costs."""

from .ablate import ablate
from .curve import Ablation
from .delta import delta_ei_parts

__all__ = ["Ablation", "ablate", "delta_ei_parts"]
