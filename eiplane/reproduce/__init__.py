"""The experiments of the paper, repeated, and its open claims: ``eiplane reproduce NAME``.

Mattsson, Michaud and Hoel, *Examining the causal structures of deep neural networks using
information theory*, Entropy 22(12), 1429 (2020). The protocols are the authors'; the code is new.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from ..files import meant
from ..run import progress_bar

__all__ = ["ABOUT", "EXPERIMENTS", "reproduce"]

#: Where each experiment is, and its function: ``run(folder, quick, data, tell) -> summary``.
EXPERIMENTS = {
    "toy": ("toy", "run_toy"),
    "convergence": ("convergence", "run_convergence"),
    "iris": ("learning", "run_iris"),
    "digits": ("learning", "run_digits"),
    "mnist": ("learning", "run_mnist"),
    "ablation": ("ablation", "run_ablation"),
    "memorization": ("memorization", "run_memorization"),
    # Claims, each with a measure and a verdict.
    "redundancy": ("claims.redundant", "run_redundancy"),
    "overfitting": ("claims.overfitting", "run_overfitting"),
    "pace": ("claims.ways", "run_pace"),
    "positions": ("claims.ways", "run_positions"),
    "whole": ("claims.ways", "run_whole"),
    "removal": ("claims.removal", "run_removal"),
    "integration": ("claims.integration", "run_integration"),
    "spans": ("claims.depth", "run_spans"),
    "initialisers": ("claims.initialisers", "run_initialisers"),
    "grid": ("claims.grid", "run_grid"),
    "grokking": ("claims.grokking", "run_grokking"),
    "minilm": ("claims.language", "run_minilm"),
}

#: What each is about, in a few words.
ABOUT = {
    "toy": "EI of one edge and of two neurons on a third, over the weights",
    "convergence": "samples that each estimate needs",
    "iris": "layers of a 4-5-5-3 network while it learns, with phi",
    "digits": "the same on scikit-learn's digits, 5x5 pixels",
    "mnist": "the same on MNIST, 5x5 pixels (--data)",
    "ablation": "what removing edges costs, by EI and by weight",
    "memorization": "true against shuffled labels",
    "pace": "do layers move most while the loss falls fastest?",
    "positions": "do first, hidden and last layers behave differently?",
    "whole": "does EI as a whole tell layers apart better than EI_parts?",
    "overfitting": "do hidden layers drift to degeneracy as overfitting begins?",
    "removal": "does the change of EI_parts tell what an edge's removal costs?",
    "integration": "does integrated information grow while a network learns?",
    "redundancy": "do hidden layers that a task does not need differentiate less?",
    "spans": "do sensitivity, EI and phi from input to output grow?",
    "initialisers": "is the paper's estimate near EI, at widths of 10 to 50?",
    "grid": "do layers of deeper and wider networks differentiate more?",
    "grokking": "does causal structure move before the test accuracy does?",
    "minilm": "attention against MLPs of a small language model (--data)",
}


def reproduce(
    name: str,
    out: str | os.PathLike[str],
    *,
    quick: bool = False,
    data: str | os.PathLike[str] | None = None,
) -> str:
    """Repeat an experiment.

    Parameters
    ----------
    name : str
        One of :data:`EXPERIMENTS`.
    out : path-like
        A folder, for the data (JSON lines), the figures (PNG and PDF) and ``summary.md``. An
        experiment that was interrupted continues from what is there.
    quick : bool
        A small version, to see it work: too few epochs or samples to conclude anything.
    data : path-like, optional
        The folder of MNIST's IDX files, for all that learns images (else scikit-learn's digits);
        for ``minilm`` that of its ``model.safetensors``, where its package is not installed.

    Returns
    -------
    str
        The summary.

    Raises
    ------
    ImportError
        If PyTorch, scikit-learn or matplotlib is missing (``pip install "eiplane[reproduce]"``).
    ValueError
        For an unknown name, missing data, or a folder that holds something else.
    """
    if name not in EXPERIMENTS:
        raise ValueError(
            f"no experiment {name!r}{meant(name, EXPERIMENTS)}; there are "
            f"{', '.join(sorted(EXPERIMENTS))}"
        )
    module, function = EXPERIMENTS[name]
    run = getattr(importlib.import_module(f".{module}", __name__), function)
    writing = importlib.import_module(".writing", __name__)
    folder = Path(out)
    if data is not None and not Path(data).is_dir():
        raise ValueError(f"--data {data}: no such folder")
    writing.claim(folder, name, quick)
    with progress_bar() as tell:
        return str(run(folder, quick, None if data is None else Path(data), tell))
