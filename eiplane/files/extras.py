"""Optional libraries: imported when used, with a clear error when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Parameters
    ----------
    module : str
        What to import.
    extra : str
        The extra of eiplane that installs it.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is missing, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        message = f'this needs {error.name}: pip install "eiplane[{extra}]"'
        raise ModuleNotFoundError(message, name=error.name) from None
