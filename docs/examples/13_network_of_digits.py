"""
Drawing a network
=================

A small network learns scikit-learn's 8x8 digits, shrunk to 4x4. Width and colour of an edge
tell its EI.
"""

import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import eiplane

x, y = load_digits(n_class=4, return_X_y=True)
x = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16) / 16.0
model = MLPClassifier(
    (6,), "tanh", random_state=0, max_iter=300, tol=0, n_iter_no_change=400
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it may go on learning: that does not matter here
    model.fit(x, y)
print(f"accuracy {model.score(x, y):.2f}")

d = eiplane.analyze(model, measures=("sensitivity", "ei_parts"))
print(d)
figure, ax = plt.subplots(figsize=(7, 5.2), layout="constrained")
eiplane.plot.network(d, ax)

# %%
# The same as heat maps on one scale.
axes = eiplane.plot.matrices(d)
