"""Random numbers and numbers of samples: what every sampling engine is told.

Here is the key of a layer's numbers. The numbers themselves are a function of key, stream and
sample alone (Philox: ``draw`` in ``csrc/kernels/ei_kernels.h``, and its twin in
:mod:`eiplane.reference.generator`), which is why threads and blocks do not matter.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

__all__ = ["Purpose", "Sampling", "entropy_of"]


class Purpose(IntEnum):
    """What a key of random numbers is for, so that no two engines share any.

    The values go into the keys, so they stay as they are. (The ``purpose`` of the core's functions
    is another thing: a word of the counter, under one key.)
    """

    PAIRS = 0
    SINGLE = 1
    JOINT = 2
    GROUPS = 4


@dataclass(frozen=True)
class Sampling:
    """How to sample one layer.

    Parameters
    ----------
    entropy : int
        What the random numbers derive from.
    layer : int
        Place of the layer in its network: each has its own random numbers, whichever are asked for.
    samples : int or None
        A fixed number of samples; None leaves it to the engine.
    tol : float or None
        Instead: sample until the standard error is below this, in bits.
    span : int
        Place of the span's last layer, where several layers are measured at once.
    """

    entropy: int
    layer: int = 0
    samples: int | None = None
    tol: float | None = None
    span: int = 0

    def key(self, purpose: Purpose) -> int:
        """Return the 64-bit key of the generator."""
        at = (self.layer, int(purpose), self.span)
        sequence = np.random.SeedSequence(self.entropy, spawn_key=at)
        return int(sequence.generate_state(1, np.uint64)[0])

    def of_layer(self, layer: int, span: int = 0) -> Sampling:
        """Return the same settings for another layer."""
        return replace(self, layer=layer, span=span)

    def of_part(self, name: str) -> Sampling:
        """Return the same settings for a part of a module, by its name."""
        words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<u4")
        return replace(self, layer=int(words[0]), span=int(words[1]))


def entropy_of(rng: int | np.random.Generator | np.random.SeedSequence | None) -> int:
    """Return the number that all random numbers of a call derive from.

    Parameters
    ----------
    rng : int, Generator, SeedSequence or None
        A Generator is advanced; None takes fresh entropy.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        For anything else, or a negative number.
    """
    if rng is None:
        return secrets.randbits(128)
    if isinstance(rng, np.random.SeedSequence):
        words = rng.generate_state(4, np.uint32)
        return sum(int(w) << 32 * i for i, w in enumerate(words))
    if isinstance(rng, np.random.Generator):
        return sum(int(w) << 32 * i for i, w in enumerate(rng.integers(0, 2**32, 4)))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool):
        if rng < 0:
            raise ValueError(f"rng must not be negative, got {rng}")
        return int(rng)
    raise TypeError(
        f"rng must be an int, a numpy Generator or SeedSequence, or None, not {type(rng).__name__}"
    )
