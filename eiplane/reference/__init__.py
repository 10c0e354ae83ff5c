"""Slow, obvious twins of the compiled kernels, in NumPy. For tests and for readers.

Nothing here imports the core. Integer results are the same to the last count; floating-point ones
are the same wherever the core only adds and multiplies, in the order written here.
"""

from .backward import log_backward
from .cells import cell_octaves, octave_values
from .evaluation import evaluate, input_bins, inputs, output_bins
from .exact import exact_information, exact_single_table, exact_table, uniform_sum
from .forward import Polytopes, log_forward
from .generator import draws, lattice, philox
from .given import dirichlet_product, given_entropy, sinc_product
from .occupancy import corrected, moments
from .pairs import joint_table, mutual_information, pair_table, single_table
from .replicates import Replicated, replicated, replicated_variance
from .sites import mixed, refined, restricted
from .vectors import count_vectors, joint_bins

__all__ = [
    "Polytopes",
    "Replicated",
    "cell_octaves",
    "corrected",
    "count_vectors",
    "dirichlet_product",
    "draws",
    "evaluate",
    "exact_information",
    "exact_single_table",
    "exact_table",
    "given_entropy",
    "input_bins",
    "inputs",
    "joint_bins",
    "joint_table",
    "lattice",
    "log_backward",
    "log_forward",
    "mixed",
    "moments",
    "mutual_information",
    "octave_values",
    "output_bins",
    "pair_table",
    "philox",
    "refined",
    "replicated",
    "replicated_variance",
    "restricted",
    "sinc_product",
    "single_table",
    "uniform_sum",
]
