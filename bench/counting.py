"""EI of small layers by plain counting, with none of eiplane's code: the truth of campaigns.

``counting.c`` is compiled where it is needed (``cc``); what was counted is kept in a folder, as
counting takes seconds to minutes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "gelu", "silu")

_HERE = Path(__file__).parent

#: Draws within a cell.
_FEW, _MANY = 64, 1024


class _Layer(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int) for n in ("n_in", "n_out", "in_bins", "out_bins")),
        *((n, ctypes.c_int) for n in ("activation", "drop")),
        *((n, ctypes.POINTER(ctypes.c_double)) for n in ("weight", "bias")),
        *((n, ctypes.c_double) for n in ("in_lo", "in_hi", "out_lo", "out_hi")),
    ]  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What was counted, in bits: EI, H(Y), their errors, and the share of outputs seen."""

    ei: float
    ei_error: float
    output: float
    output_error: float
    coverage: float


class Counter:
    """Counts layers, and remembers what it counted.

    Parameters
    ----------
    folder : Path
        For the compiled code and what was counted.
    samples : int
        For ``H(Y)``, and for ``H(Y | X)`` as many again.
    """

    def __init__(self, folder: Path, samples: int = 1 << 26) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.samples = folder, samples
        source, library = _HERE / "counting.c", folder / "counting.so"
        if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
            flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
            subprocess.run(["cc", *flags, str(source), "-o", str(library), "-lm"], check=True)
        self._library = ctypes.CDLL(str(library))

    def count(self, weight, activation="sigmoid", bins=(8, 8), out_range=(0.0, 1.0), drop=False,
              bias=None, in_range=(0.0, 1.0)):  # fmt: skip
        """Return the truth of a layer; None where its outputs are too many to be counted."""
        weight = np.ascontiguousarray(weight, np.float64)
        bias = np.zeros(len(weight)) if bias is None else np.ascontiguousarray(bias, np.float64)
        told = (activation, bins, out_range, drop, in_range, self.samples)
        name = hashlib.sha256(repr(told).encode() + weight.tobytes() + bias.tobytes()).hexdigest()
        kept = self.folder / f"{name[:24]}.json"
        if kept.exists():
            found = json.loads(kept.read_text())
            return Truth(**found) if found else None
        pointer = ctypes.POINTER(ctypes.c_double)
        layer = _Layer(
            weight.shape[1], weight.shape[0], bins[0], bins[1], ACTIVATIONS.index(activation), drop,
            weight.ctypes.data_as(pointer), bias.ctypes.data_as(pointer), *in_range, *out_range,
        )  # fmt: skip
        truth = self._count(layer, int(name[:12], 16))
        kept.write_text(json.dumps(truth.__dict__ if truth else None))
        return truth

    def _count(self, layer: _Layer, key: int) -> Truth | None:
        whole, within = (ctypes.c_double * 5)(), (ctypes.c_double * 4)()
        size = min(26, self.samples.bit_length())
        full = self._library.count_outputs(
            ctypes.byref(layer), ctypes.c_uint64(key), ctypes.c_uint64(self.samples), size, whole
        )
        if full or whole[4] < 0.98:
            return None
        # Many cells of few draws, and what more draws add in a few of them.
        self._library.count_within(
            ctypes.byref(layer), ctypes.c_uint64(key + 1),
            ctypes.c_uint64(self.samples // _FEW), _FEW, _FEW, within,
        )  # fmt: skip
        value, error = within[0], within[1]
        self._library.count_within(
            ctypes.byref(layer), ctypes.c_uint64(key + 2),
            ctypes.c_uint64(self.samples // 4 // _MANY), _MANY, _FEW, within,
        )  # fmt: skip
        # What halves and quarters of the samples give says how much bias may be left.
        output_error = math.hypot(whole[1], 0.5 * (whole[0] - whole[2]))
        within_error = math.hypot(error, within[3], 0.05 * within[2])
        return Truth(
            whole[0] - value - within[2], math.hypot(output_error, within_error), whole[0],
            output_error, whole[4],
        )  # fmt: skip
