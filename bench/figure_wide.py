"""Draw the README's figure: error and time of EI against the width of a layer.

    python bench/figure_wide.py [bench/figures/wide.png] [widest]

Square layers of shuffled 4→4 blocks, whose EI is known (blocks.py); 8 bins. Four seeds each up to
128 wide; one thread, seconds of its own time, not of the clock. deep-ei, where it is installed,
takes 100,000 samples. A line ends where there is no estimate any more.
What was measured is kept beside the figure (.json) and not measured again: remove it to start anew.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from blocks import shuffled

import eiplane

WIDTHS = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
SEEDS = 4
#: Beyond this width one seed has to do.
_SLOW = 128
COLOURS = {"wide": "#2b6cb0", "conditional": "#2f855a", "plugin": "#c05621", "deep-ei": "#222222"}
NAMES = {"wide": "wide", "conditional": "counting, corrected", "plugin": "counting, plug-in",
         "deep-ei": "deep-ei 0.7.0"}  # fmt: skip


def ours(weight, estimator, seed):
    """Return EI, its stated error, and the seconds; None where it is not known."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = eiplane.analyze(weight, measures="ei", estimator=estimator, rng=seed, threads=1)[0]
    if layer.ei is None:
        return None
    return layer.ei, layer.ei_stderr, time.process_time() - start


def theirs(weight):
    """Return deep-ei's EI and the seconds, or None."""
    try:
        from peer import Peer
    except ImportError:
        return None
    start = time.process_time()
    value = Peer(weight.astype(np.float32)).ei(100_000)
    return value, None, time.process_time() - start


def measure(widest, kept):
    """Return {way: [(width, error, stated, seconds)]}, errors as shares of EI.

    What is in the file ``kept`` is not measured again.
    """
    found = json.loads(kept.read_text()) if kept.exists() else {way: [] for way in COLOURS}
    done = {row[0] for row in found["wide"]}
    for width in (w for w in WIDTHS if w <= widest and w not in done):
        weight, truth = shuffled(width)
        for way, rows in found.items():
            if way == "deep-ei":
                runs = [theirs(weight)] if width <= 64 else [None]
            else:
                seeds = SEEDS if width <= _SLOW else 1
                runs = [ours(weight, way, seed) for seed in range(seeds)]
            if None in runs:
                continue
            values, stated, seconds = np.array(runs, float).T  # None: not a number
            off = np.sqrt(np.mean((values / truth - 1.0) ** 2))
            share = float(np.mean(stated) / truth)
            known = share if np.isfinite(share) else None
            rows.append((width, float(off), known, float(np.median(seconds))))
            print(f"{width:5d} {way:12s} EI {values.mean():9.2f} of {truth:9.2f}  "
                  f"error {off:8.3%} stated {share:8.3%}  {rows[-1][3]:8.2f} s",
                  flush=True)  # fmt: skip
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
    return found


def draw(found, path):
    """Draw both panels."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for way, rows in found.items():
        if not rows:
            continue
        width, off, stated, seconds = np.array(sorted(rows, key=lambda r: r[0]), float).T
        left.plot(width, off, "o-", color=COLOURS[way], label=NAMES[way], markersize=4)
        if way == "wide":
            left.plot(width, stated, ":", color=COLOURS[way], label="wide, as stated")
        right.plot(width, seconds, "o-", color=COLOURS[way], markersize=4)
    for axes, what in ((left, "error of EI, share of it"), (right, "seconds of one core")):
        axes.set(xscale="log", yscale="log", xlabel="width (inputs = outputs)", title=what)
        axes.set_xticks(width_ticks := [4, 16, 64, 256, 1024], [str(w) for w in width_ticks])
        axes.minorticks_off()
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5,
                  frameon=False)  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    here = Path(__file__).parent
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "figures" / "wide.png"
    widest = int(sys.argv[2]) if len(sys.argv) > 2 else WIDTHS[-1]
    draw(measure(widest, target.with_suffix(".json")), target)
