"""The per-edge matrices of a tracked run: a file a step, or in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import read_arrays, warn_user, write_whole
from ..results import TABLE, Decomposition

__all__ = ["Arrays", "Matrices"]

Arrays = dict[str, NDArray[np.float64]]


class Matrices:
    """Keeps and gives back the per-edge matrices of every step.

    Parameters
    ----------
    path : pathlib.Path or None
        Of the run's file; they go to a folder beside it, with the ending ``.edges``. In memory if
        None.
    """

    def __init__(self, path: Path | None) -> None:
        self._folder = None if path is None else path.with_suffix(".edges")
        self._held: dict[int, Arrays] = {}
        self._told = False

    def keep(self, step: int, decomposition: Decomposition) -> None:
        """Keep those of a step, whole or not at all."""
        arrays = {
            f"{layer.name}/{row.name}": values
            for layer in decomposition
            for row in TABLE
            if row.per == "edge" and row.tracked
            if (values := getattr(layer, row.name)) is not None
        }
        if self._folder is None:
            self._held[step] = arrays
            return
        try:
            self._folder.mkdir(exist_ok=True)
            write_whole(
                self._file(self._folder, step),
                lambda file: np.savez_compressed(file, allow_pickle=False, **arrays),
            )
        except OSError as error:  # a full disk, say: the training goes on
            self._held[step] = arrays
            if not self._told:
                warn_user(f"{error}; matrices that cannot be written are held in memory alone")
            self._told = True

    def of(self, step: int) -> Arrays:
        """Return those of a step, under ``<layer>/<quantity>``.

        KeyError if none were kept, ValueError if their file is damaged.
        """
        if step in self._held:
            return self._held[step]
        if self._folder is None or not self._file(self._folder, step).exists():
            raise KeyError(f"no per-edge matrices were kept for step {step}")
        arrays = read_arrays(self._file(self._folder, step), "holds no whole matrices")
        if not isinstance(arrays, dict):
            raise ValueError(f"{self._file(self._folder, step)} holds no matrices by name")
        return arrays

    def remove(self) -> None:
        """Remove the files of an earlier run."""
        if self._folder is not None:
            for old in self._folder.glob("step-*.npz"):
                old.unlink()

    @staticmethod
    def _file(folder: Path, step: int) -> Path:
        return folder / f"step-{step:09d}.npz"
