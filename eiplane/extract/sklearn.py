"""Networks from scikit-learn's multilayer perceptrons, by their documented attributes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..network import Layer, Network

__all__ = ["from_sklearn", "is_sklearn"]

#: What scikit-learn calls them. A softmax takes the outputs of a linear layer.
_ACTIVATIONS = {
    "identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu",
    "softmax": "identity",
}  # fmt: skip


def is_sklearn(weights: Any) -> bool:
    """Return whether this is an estimator of scikit-learn, without importing that."""
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(weights, base.BaseEstimator)


def from_sklearn(estimator: Any) -> Network:
    """Return the layers of a fitted ``MLPClassifier`` or ``MLPRegressor``.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    Network
        Chained, named ``"coefs_.0"``, ``"coefs_.1"``, ... as the attributes are.

    Raises
    ------
    TypeError
        For any other estimator.
    ValueError
        If it is not fitted, or has an activation that eiplane does not know.
    """
    kind = type(estimator).__name__
    if hasattr(estimator, "steps"):
        last = type(estimator.steps[-1][1]).__name__
        raise TypeError(
            f"a {kind} is several steps; pass its network, pipeline[-1] (a {last}), and the range "
            "of what the steps before it give as in_range="
        )
    neural = sys.modules.get("sklearn.neural_network")
    known = (neural.MLPClassifier, neural.MLPRegressor) if neural is not None else ()
    if not isinstance(estimator, known):
        raise TypeError(
            f"of scikit-learn eiplane reads MLPClassifier and MLPRegressor, not {kind}; pass its "
            "weights as arrays of shape (n_out, n_in)"
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"the {kind} is not fitted: it has no weights yet")
    count = len(estimator.coefs_)
    names = [estimator.activation] * (count - 1) + [estimator.out_activation_]
    layers = []
    for i, (name, w, b) in enumerate(
        zip(names, estimator.coefs_, estimator.intercepts_, strict=True)
    ):
        if name not in _ACTIVATIONS:
            raise ValueError(f"layer 'coefs_.{i}': unknown activation {name!r} of {kind}")
        layers.append(Layer(np.asarray(w).T, np.asarray(b), _ACTIVATIONS[name], f"coefs_.{i}"))
    return Network(layers)
