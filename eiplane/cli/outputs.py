"""Files that a command will write: looked at before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path

from ..files import require

__all__ = ["check_output", "check_picture"]


def check_output(path: str | None, *endings: str) -> None:
    """Raise if a file cannot be written, before the work that it is to hold.

    Parameters
    ----------
    path : str or None
        None is no file.
    *endings : str
        What its name may end in; anything if left out.

    Raises
    ------
    ValueError
        For another ending.
    OSError
        If there is no such folder, or no right to write there.
    """
    if path is None:
        return
    target = Path(path)
    if endings and target.suffix.lower() not in endings:
        raise ValueError(f"{path}: its name must end in {', '.join(endings)}")
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{path}: {target.parent} cannot be written to")


def check_picture(path: str | None) -> None:
    """Raise if a picture cannot be written: for want of a library, too.

    Parameters
    ----------
    path : str or None
        None is no picture.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError, OSError
        As of :func:`check_output`.
    """
    if path is None:
        return
    kinds = require("matplotlib.backend_bases", "plot").FigureCanvasBase.get_supported_filetypes()
    usual = [".png", ".pdf", ".svg"]
    check_output(path, *usual, *sorted({f".{kind}" for kind in kinds} - set(usual)))
