"""Programs of torch.export in files, read without running anything that is in them.

``torch.export.load`` unpickles what it finds, and evaluates the text of symbolic sizes as Python.
Here the description of the graph is read as JSON and weights as the bytes that they are; what is
pickled is loaded as weights only or refused. Only operators of ATen are run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...files import check_regular, require
from ..programs import Example
from .archive import read_archive
from .graph import Program

__all__ = ["read_program"]


def read_program(path: Path, key: str | None = None) -> tuple[Any, Example | None]:
    """Return the program in a ``.pt2`` file as a module, and an example of its inputs.

    Parameters
    ----------
    path : Path
    key : str, optional
        Which of several.

    Returns
    -------
    module : torch.nn.Module
        With the names of the module that was exported.
    example : Example or None
        Of the shapes that it was exported with; None if the file does not say them all.

    Raises
    ------
    ImportError
        If torch is missing.
    ValueError
        For a file that is no whole program, holds something pickled other than weights, or uses
        operators that are not ATen's.
    """
    check_regular(path)
    torch = require("torch", "torch")
    archive = read_archive(torch, path, key)
    try:
        program = Program(torch, archive)
        return program.module, program.example()
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        said = str(error) or type(error).__name__
        raise ValueError(f"{path}: its program cannot be read ({said})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
