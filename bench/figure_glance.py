"""Draw the README's first figure: what is found in a network that learnt Fisher's Iris.

python bench/figure_glance.py [bench/figures/glance.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import eiplane
from eiplane.cli.demo import demo_history, iris_snapshots

HERE = Path(__file__).parent


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "figures" / "glance.png"
    found, run = demo_history(iris_snapshots())
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    eiplane.plot.network(found, axes[0])
    axes[0].set_title("What every edge tells, in bits", fontsize=11, pad=10)
    eiplane.plot.trajectory(run, axes[1])
    axes[1].set_title("The layers' way through the causal plane", fontsize=11, pad=10)
    figure.savefig(out, dpi=110)
    print(out)


if __name__ == "__main__":
    main()
