"""Networks from torch modules: one run, followed at the level of ATen.

A ``TorchDispatchMode`` sees every operator that is executed, whoever called it: modules,
functions, compiled and scripted parts. torch is never imported here; whoever has a module has it.
"""

from .call import tensors_in
from .leaving import FROM_DATA, Change, Returned, Taken
from .run import Run

__all__ = ["FROM_DATA", "Change", "Returned", "Run", "Taken", "tensors_in"]
