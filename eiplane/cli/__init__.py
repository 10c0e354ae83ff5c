"""The command line: ``eiplane analyze``, ``demo``, ``plot``, ``report``, ``reproduce``, ``info``.

:mod:`.demo` has the network and the training that come with the package.
"""

from .main import main

__all__ = ["main"]
