"""
Through a run
=============

The Iris network that comes with the package, while it learns: quantities over the steps, every edge
in motion, and the plane in a terminal.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import eiplane
from eiplane.cli.demo import demo_network, iris_snapshots

snapshots = iris_snapshots()
folder = Path(tempfile.mkdtemp())
weights = []
with eiplane.Tracker(
    lambda: weights, folder / "run.jsonl", edges=True, samples=20_000
) as run:
    for i in range(0, len(snapshots["epochs"]), 4):
        weights = demo_network(snapshots, i)
        run.record(
            int(snapshots["epochs"][i]), accuracy=float(snapshots["test_accuracy"][i])
        )

# %%
# One quantity of every layer. Bands are two standard errors.
ax = eiplane.plot.curve(run, "ei")

# %%
# Integrated information, and the bounds that it cannot leave.
ax = eiplane.plot.phi(run)

# %%
# Everything at once.
axes = eiplane.plot.history(run, quantities=["sensitivity", "ei_parts", "degeneracy"])

# %%
# Moving pictures are files: of the layers in the plane, and of every edge.
eiplane.plot.animate(run, folder / "plane.gif")
film = eiplane.plot.animate_edges(run, folder / "edges.gif")
figure, ax = plt.subplots(figsize=(8.2, 3.4), layout="constrained")
ax.imshow(plt.imread(film))  # its first frame
ax.axis("off")

# %%
# The plane in characters, and the picture of a way through it, written whole or not at all.
print(eiplane.plot.text_plane(run, width=60, height=12))
place = eiplane.plot.save_figure(eiplane.plot.trajectory(run), folder / "plane.png")
