"""Pictures, drawn with matplotlib (``pip install "eiplane[plot]"``).

Every function takes the ``Axes`` to draw on, or makes one, and returns it; none shows anything. A
layer's colour, marker and line differ together, so that pictures are readable for the colour-blind
and in grey.
"""

from .ablation import ablation
from .causal import causal_plane, compare, trajectory
from .changes import changes
from .convergence import convergence
from .curves import curve, history, phi
from .depth import layers
from .edge_movies import animate_edges
from .graphs import edges, matrices
from .lags import lags
from .movies import animate
from .networks import network
from .style import save_figure
from .text import text_plane
from .transitions import transitions

__all__ = [
    "ablation",
    "animate",
    "animate_edges",
    "causal_plane",
    "changes",
    "compare",
    "convergence",
    "curve",
    "edges",
    "history",
    "lags",
    "layers",
    "matrices",
    "network",
    "phi",
    "save_figure",
    "text_plane",
    "trajectory",
    "transitions",
]
