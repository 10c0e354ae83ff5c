"""Following signals through one run of a network, whatever runs it, and the layers in that.

A front end reports what it executes to a :class:`Flow`; every array that depends on the network's
input carries *codes* that say which signal each of its entries holds.
"""

from .flow import Flow
from .signals import PYTHON, Codes, Convolution, Operand, Value
from .steps import Step

__all__ = ["PYTHON", "Codes", "Convolution", "Flow", "Operand", "Step", "Value"]
