"""Networks from scikit-learn's multilayer perceptrons, by their documented attributes."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Join, Layer, Mapped, Network, NetworkInput, RangeRule, Scaled

__all__ = ["from_sklearn", "is_sklearn"]

#: What scikit-learn calls them. A softmax takes the outputs of a linear layer.
_ACTIVATIONS = {
    "identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu",
    "exp": "exp", "softmax": "identity",
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
        Or what ends in one: a pipeline with scalers before it, a fitted search, a
        ``TransformedTargetRegressor``.

    Returns
    -------
    Network
        Chained, named ``"coefs_.0"``, ``"coefs_.1"``, ... as the attributes are.

    Raises
    ------
    TypeError
        For any other estimator.
    ValueError
        If it is not fitted, has an activation that eiplane does not know, or predicts something
        else than its layers do.
    """
    estimator, rule = _network_of(estimator)
    kind = type(estimator).__name__
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
    _prove(estimator, layers)
    inputs = {} if rule is None else {"coefs_.0": Join(operands=(rule,))}
    return Network(layers, inputs=inputs)


def _network_of(estimator: Any) -> tuple[Any, RangeRule | None]:
    """Return the network in a pipeline or a search, and the range that it takes."""
    rule: RangeRule | None = None
    while True:
        kind = type(estimator).__name__
        if hasattr(estimator, "steps"):
            for name, step in estimator.steps[:-1]:
                rule = _stepped(name, step, rule or NetworkInput())
            estimator = estimator.steps[-1][1]
        elif isinstance(getattr(estimator, "best_estimator_", None), _base()):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "param_distributions") or hasattr(estimator, "param_grid"):
            raise ValueError(f"the {kind} is not fitted: it has no best network yet")
        elif isinstance(getattr(estimator, "regressor_", None), _base()):
            estimator = estimator.regressor_
        else:
            return estimator, rule


def _base() -> Any:
    return sys.modules["sklearn.base"].BaseEstimator


def _stepped(name: str, step: Any, rule: RangeRule) -> RangeRule:
    """Return the range of what a step before a network gives, feature by feature."""
    kind = type(step).__name__
    if step is None or step == "passthrough":
        return rule
    ours = type(step).__module__.startswith("sklearn.")
    if not ours or kind not in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"):
        raise TypeError(
            f"the pipeline's step {name!r} (a {kind}) is no scaler that eiplane knows; pass its "
            "network, pipeline[-1], and the range of what the steps before it give as in_range="
        )
    if not hasattr(step, "n_features_in_"):
        raise ValueError(f"the pipeline's step {name!r} (a {kind}) is not fitted")
    count = int(step.n_features_in_)
    at = np.vstack([np.zeros(count), np.ones(count)])
    if kind == "MinMaxScaler":  # its own numbers, as it may clip what it gives
        shift, scale = np.asarray(step.min_, float), np.asarray(step.scale_, float)
        ends = tuple(map(float, step.feature_range)) if step.clip else None
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names of columns
            shift, one = np.asarray(step.transform(at), dtype=float)
        scale, ends = one - shift, None
    made: RangeRule = Scaled(scale, shift, operands=(rule,))
    if ends is None:
        return made
    return Mapped(_Clip(*ends), True, operands=(made,))


@dataclass(frozen=True)
class _Clip:
    low: float
    high: float

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(z, self.low, self.high)


def _prove(estimator: Any, layers: list[Layer]) -> None:
    """Raise ValueError if the layers are not what the estimator predicts with."""
    x = np.random.default_rng(0).normal(size=(8, layers[0].n_in))
    y = x
    for layer in layers:
        y = layer(y)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # names of columns; an overflow far out
        if not hasattr(estimator, "predict_proba"):
            seen = np.asarray(estimator.predict(x), dtype=float).reshape(len(x), -1)
        else:
            seen = np.asarray(estimator.predict_proba(x), dtype=float)
            if estimator.out_activation_ == "softmax":
                y = np.exp(y - y.max(axis=1, keepdims=True))
                y = y / y.sum(axis=1, keepdims=True)
            elif seen.shape[1] == 2 and y.shape[1] == 1:
                seen = seen[:, 1:]
        near = np.abs(seen - y) <= 1e-3 * (1.0 + np.abs(seen)) if seen.shape == y.shape else False
    if not np.all(near | ~np.isfinite(y)):
        raise ValueError(
            f"the {type(estimator).__name__} does not predict what its layers give: its class may "
            "compute something else; pass its weights as arrays of shape (n_out, n_in)"
        )
