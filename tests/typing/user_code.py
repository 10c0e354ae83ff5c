"""What a user writes, for the type checkers: mypy and pyright both pass it.

Nothing runs this file. ``assert_type`` holds what an editor is told of each value.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import eiplane


def progress(done: int, total: int, what: str) -> None:
    print(f"{what}: {done} of {total}")


def decompose(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> eiplane.Decomposition:
    layer = eiplane.Layer(weight, bias, activation="relu", name="fc1")
    assert_type(layer.n_in, int)
    with ThreadPoolExecutor(2) as executor:
        return eiplane.analyze(
            [layer, (weight.T, None)],
            bins=(16, 8),
            in_range={"fc1": (-1.0, 1.0), None: (0.0, 1.0)},
            out_range="auto",
            measures=("ei_parts", "phi"),
            samples=100_000,
            layers=["fc*"],
            memory_limit=2**30,
            rng=np.random.default_rng(0),
            executor=executor,
            progress=progress,
        )


def read(d: eiplane.Decomposition) -> None:
    assert_type(len(d), int)
    assert_type(d["fc1"], eiplane.LayerResult)
    assert_type(d[0], eiplane.LayerResult)
    assert_type(d[:2], tuple[eiplane.LayerResult, ...])
    for layer in d:
        assert_type(layer, eiplane.LayerResult)
        assert_type(layer.name, str)
        assert_type(layer.ei, float | None)
        assert_type(layer.ei_bounds, tuple[float, float] | None)
        assert_type(layer.ei_edges, NDArray[np.float64] | None)
        assert_type(layer.saturated, bool | None)
        if layer.phi is not None:
            assert_type(layer.phi + 1.0, float)
    assert_type(d.to_json("d.json", edges=False), str)
    assert_type(d.to_html(), str)
    d.save("d.npz")
    assert_type(eiplane.load("d.npz"), eiplane.Decomposition)


def track(weights: list[NDArray[np.float64]]) -> None:
    with eiplane.Tracker(weights, path="run.jsonl", measures="degeneracy") as tracker:
        for step in range(3):
            tracker.record(step, loss=0.5)
    assert_type(eiplane.plot.text_plane(tracker), str)
    assert_type(eiplane.mutual_information(weights[0][0], weights[0][1], bins=8), float)
    assert_type(eiplane.get_activation("tanh"), eiplane.Activation)


def score(layers: list[eiplane.Layer]) -> float:
    return float(len(layers))


def take_away(layers: list[eiplane.Layer]) -> None:
    curve = eiplane.ablate(layers, "ei", evaluate=score, rng=0)
    assert_type(curve, eiplane.Ablation)
    assert_type(curve.area, float)
    assert_type(eiplane.delta_ei_parts(layers[0]), NDArray[np.float64])
    eiplane.plot.ablation([curve], label="accuracy").set_ylim(0.0, 1.0)


def scales(matrix: NDArray[np.float64], layer: eiplane.Layer) -> None:
    found = eiplane.tpm(matrix, macro="greedy", normalize=True)
    assert_type(found, eiplane.Transitions)
    assert_type(found.ei, float)
    if found.macro is not None:
        assert_type(found.macro.emergence, float)
    units = eiplane.macro_units(layer, bins=2)
    assert_type(units, eiplane.MacroUnits)
    assert_type(units[0].ei, float | None)
    for unit in units:
        assert_type(unit.ei_parts, float)


def through_time(w_x: NDArray[np.float64], w_h: NDArray[np.float64]) -> None:
    found = eiplane.through_time((w_x, w_h), lags=(1, 2, 4), perturb="state")
    assert_type(found, eiplane.ThroughTime)
    assert_type(found.lag(2), eiplane.LayerResult)
    assert_type(found.tpm(1), eiplane.Transitions)
    eiplane.plot.lags(found, quantities=("ei_parts",)).set_xlim(0.0, 4.0)


def noisy(weight: NDArray[np.float64]) -> None:
    d = eiplane.analyze(weight, "identity", noise=("gaussian", 0.1), measures="bounds")
    assert_type(d[0].ei_bounds, tuple[float, float] | None)
    assert_type(eiplane.gaussian_ei(weight, 0.1), float)
    eiplane.plot.layers(d, quantities=["ei_parts"], normalize="edges", scale="symlog")
    d.plot(normalize="outputs").set_ylim(0.0, 1.0)
