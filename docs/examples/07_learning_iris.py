"""
A network learns Iris
=====================

The package brings snapshots of a 4-5-5-3 sigmoid network that learns Fisher's Iris. Each layer's
way through the causal plane, and its phi on the way.
"""

import matplotlib.pyplot as plt

import eiplane
from eiplane.cli.demo import demo_network, iris_snapshots
from eiplane.training import History, Record

snapshots = iris_snapshots()
records = []
for i in range(0, len(snapshots["epochs"]), 4):
    d = eiplane.analyze(demo_network(snapshots, i), samples=20_000)
    metrics = {"test_accuracy": float(snapshots["test_accuracy"][i])}
    records.append(Record.of(int(snapshots["epochs"][i]), d, metrics))
run = History(records, "iris")

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
eiplane.plot.trajectory(run, axes[0])
eiplane.plot.phi(run, axes[1], bounds=False)

# %%
# With PyTorch a :class:`eiplane.Tracker` makes such a history while the network learns; see
# :doc:`../howto/training`.
print(run.to_dataframe()[["sensitivity", "ei_parts", "phi"]].tail(3).round(2))
