"""Fuzzed calls of everything public beside ``analyze``, and of what a result can do.

A case is the name of a function and a seed; what the function gives is held against what a few lines
of NumPy say where such lines exist, and against what must hold of every answer otherwise.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

import eiplane

from .calls import ACTIVATIONS, CLOSED, FUNCTIONS, pick
from .campaign import Case, Wrong
from .readers import scratch
from .sound import faults

Rng = np.random.Generator

#: What each is, and how often it comes up: the slow ones seldom.
_ALL: dict[str, tuple[Callable[[Rng], None], int]] = {}


def _fuzzed(share: int) -> Callable[[Callable[[Rng], None]], Callable[[Rng], None]]:
    def entered(function: Callable[[Rng], None]) -> Callable[[Rng], None]:
        _ALL[function.__name__.strip("_")] = function, share
        return function

    return entered


@cache
def _names() -> tuple[str, ...]:
    return tuple(name for name, (_, share) in _ALL.items() for _ in range(share))


def make(rng: Rng) -> Case:
    """Return which function, and the seed of what it gets."""
    return {"function": pick(rng, _names()), "seed": int(rng.integers(1 << 40))}


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        _ALL[case["function"]][0](np.random.default_rng(case["seed"]))


def smaller(_: Case) -> Iterator[Case]:
    """Return nothing: a seed has no smaller one."""
    return iter(())


def _near(what: str, value: float, want: float, slack: float = 1e-9) -> None:
    if not abs(value - want) <= slack * max(1.0, abs(want)):
        raise Wrong(f"{what} differs", f"{value!r}, should be {want!r}")


def _in(what: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low - 1e-9 <= value <= high + 1e-9:
        raise Wrong(f"{what} outside", f"{value!r} not in {low}..{high}")


def _scale(rng: Rng) -> float:
    return float(10 ** (rng.uniform(-323, 308) if rng.random() < 0.3 else rng.uniform(-2, 2)))


def _weight(rng: Rng, most: int = 3) -> np.ndarray[Any, Any]:
    with np.errstate(all="ignore"):
        return np.nan_to_num(rng.normal(size=rng.integers(1, most + 1, 2)) * _scale(rng))


def _layer(rng: Rng, most: int = 3) -> dict[str, Any]:
    scale = _scale(rng)
    options = {
        "activation": pick(rng, CLOSED), "bins": int(rng.integers(2, 5)),
        "in_range": pick(rng, ((0.0, 1.0), (-1.0, 1.0), (-scale, scale), (scale, 2 * scale))),
        "outliers": pick(rng, ("clip", "clip", "drop")), "progress": False, "threads": 1,
    }  # fmt: skip
    if rng.random() < 0.3:
        options["out_range"] = pick(rng, ((-1.0, 1.0), (0.0, scale)))
    return options


def _refused(error: Exception) -> None:
    """Pass an error over if it is about numbers that leave float64, in words."""
    words = (
        "range", "float64", "weight", "bias", "noise", "inputs", "defined", "pooled", "reach",
        "infinite", "NaN", "samples",
    )  # fmt: skip
    if not any(word in str(error) for word in words):
        raise Wrong("unclear", str(error)) from error


# -- what is measured without a network -----------------------------------------------------------


@_fuzzed(20)
def _tpm(rng: Rng) -> None:
    n, kind = int(rng.integers(1, 7)), rng.random()
    m = rng.random((n, n)) ** (1 if kind < 0.5 else 40)
    if kind < 0.3:
        m *= rng.random((n, n)) < 0.5
    elif kind > 0.9:
        m = np.eye(n)[rng.integers(n, size=n)]
    normalize = rng.random() < 0.5
    if normalize:
        m[m.sum(axis=1) == 0, 0] = 1.0
        m *= _scale(rng) if rng.random() < 0.5 else 1.0
    with np.errstate(all="ignore"):
        sums = m.sum(axis=1, keepdims=True)
        rows = m / sums
    given = m if normalize else rows
    how = pick(rng, ("auto", "exhaustive", "greedy", "spectral", None))
    objective = pick(rng, ("ei", "effectiveness"))
    try:
        t = eiplane.tpm(given, macro=how, normalize=normalize, objective=objective)
    except ValueError as error:
        if np.isfinite(rows).all() and sums.min() > 1e-290 and sums.max() < 1e290:
            raise Wrong("refused", f"{error}: {given.tolist()}") from error
        return
    with np.errstate(all="ignore"):
        terms = rows * np.log2(rows / rows.mean(axis=0))
    if sums.min() > 1e-290:
        _near("ei of a matrix", t.ei, float(np.nansum(terms) / n))
    _in("effectiveness", t.effectiveness, 0.0, 1.0)
    if t.macro is not None and objective == "ei":
        _in("emergence", t.macro.emergence, 0.0, math.log2(n) + 1e-9 if n > 1 else 0.0)
    str(t)


@_fuzzed(25)
def _mutual_information(rng: Rng) -> None:
    n, bins = int(rng.integers(1, 60)), [int(b) for b in rng.integers(2, 7, 2)]
    if rng.random() < 0.5:  # whole numbers in bins of width 1
        x, y = (rng.integers(0, b, n) for b in bins)
        got = eiplane.mutual_information(x, y, tuple(bins), ((0, bins[0]), (0, bins[1])))
        p = np.zeros(bins)
        np.add.at(p, (x, y), 1.0 / n)
        with np.errstate(all="ignore"):
            terms = p * np.log2(p / (p.sum(1, keepdims=True) * p.sum(0)))
        _near("mutual information", got, float(np.nansum(terms)))
        return
    with np.errstate(all="ignore"):
        x, y = np.nan_to_num(rng.normal(size=(2, n)) * _scale(rng))
    try:
        got = eiplane.mutual_information(x, y, tuple(bins))
    except ValueError as error:
        _refused(error)
        return
    _in("mutual information", got, 0.0, math.log2(min(bins)))


@_fuzzed(10)
def _entropy(rng: Rng) -> None:
    counts = rng.integers(0, pick(rng, (2, 5, 10**6)), int(rng.integers(1, 20)))
    counts[0] += 1
    for name in ("plugin", "miller_madow", "chao_shen", "chao_wang_jost"):
        got = eiplane.entropy(counts, name)
        if not math.isfinite(got) or got < -1e-12:
            raise Wrong(f"entropy of {name}", f"{got}: {counts.tolist()}")
        if name == "plugin":
            p = counts[counts > 0] / counts.sum()
            _near("plug-in entropy", got, float(-(p * np.log2(p)).sum()))


@_fuzzed(10)
def _gaussian_ei(rng: Rng) -> None:
    w, noise = _weight(rng), abs(_scale(rng))
    lo, width = pick(rng, (0.0, -1.0)), _scale(rng)
    try:
        got = eiplane.gaussian_ei(w, noise, in_range=(lo, lo + width))
    except ValueError as error:
        _refused(error)
        return
    if not math.isfinite(got) or got < 0.0:
        raise Wrong("not finite of gaussian_ei", f"{got}: {w.tolist()}, {noise}, {width}")
    if 1e-3 < noise < 1e3 and 1e-3 < width < 1e3 and np.abs(w).max() < 1e3:
        c = np.eye(len(w)) + w @ w.T * width**2 / 12 / noise**2
        _near("gaussian_ei", got, float(np.linalg.slogdet(c)[1] / math.log(4.0)), 1e-6)


@_fuzzed(10)
def _activations(rng: Rng) -> None:
    name = pick(rng, ACTIVATIONS)
    if rng.random() < 0.5:  # a name with something changed
        at = int(rng.integers(len(name)))
        name = (
            name[:at]
            + pick(rng, ("", "(", ")", ",", "-", "1e400", "nan", "é", "0", " "))
            + name[at + 1 :]
        )
    try:
        f = eiplane.get_activation(name)
    except ValueError:
        return
    z = np.sort(rng.normal(size=5)) * min(_scale(rng), 1e100)
    least, greatest = f.images(z[:-1], z[1:])
    ends = f(z)
    if not np.isfinite(ends).all() or (least > np.minimum(ends[:-1], ends[1:]) + 1e-12).any():
        raise Wrong("image", f"{name}: {z.tolist()}")
    if (least > greatest).any():
        raise Wrong("image turned", f"{name}: {z.tolist()}")


@_fuzzed(3)
def _own_functions(rng: Rng) -> None:
    name = pick(rng, list(FUNCTIONS))
    function, options = FUNCTIONS[name]
    f = eiplane.Activation.from_function(function, name, **options)
    w = rng.random((2, 2)) + 0.1
    layer = eiplane.analyze(
        (w, None), f, bins=3, measures="sensitivity", threads=1, progress=False, in_range=(0, 2)
    )[0]
    # Where one input alone is moved, the output's bins are those of values that can be counted.
    lo, hi = layer.out_range
    x = np.linspace(0.0, 2.0, 3001)[:-1] + 1.0 / 3000
    y = np.clip(np.floor((function(w[0, 0] * x) - lo) / (hi - lo) * 3), 0, 2).astype(int)
    p = np.zeros((3, 3))
    np.add.at(p, (np.arange(3000) // 1000, y), 1 / 3000)
    with np.errstate(all="ignore"):
        terms = p * np.log2(p / (p.sum(1, keepdims=True) * p.sum(0)))
    _near(
        f"sensitivity of {name}",
        float(layer.sensitivity_edges[0, 0]),
        float(np.nansum(terms)),
        0.02,
    )


# -- of a layer -----------------------------------------------------------------------------------


@_fuzzed(8)
def _delta_ei_parts(rng: Rng) -> None:
    w, options = _weight(rng, 2), _layer(rng)
    try:
        whole = eiplane.analyze(w, measures="ei_parts", **options)[0]
        got = eiplane.delta_ei_parts(w, **options)
    except ValueError as error:
        _refused(error)
        return
    if not np.isfinite(got).all():
        raise Wrong("not finite of delta_ei_parts", str(got))
    if np.abs(w).max() > 1e50 or (w != 0).sum() == 0:
        return
    b, a = (int(rng.integers(n)) for n in w.shape)
    cut = w.copy()
    cut[b, a] = 0.0
    options["out_range"] = whole.out_range
    less = eiplane.analyze(cut, measures="ei_parts", **options)[0].ei_parts
    _near("delta_ei_parts", float(got[b, a]), less - whole.ei_parts, 1e-6)


@_fuzzed(1)
def _ei_between(rng: Rng) -> None:
    w, options = _weight(rng), _layer(rng)
    inputs, outputs = (
        sorted(rng.permutation(n)[: rng.integers(1, n + 1)].tolist()) for n in w.shape[::-1]
    )
    options |= {"samples": int(rng.integers(2, 300)), "estimator": pick(rng, ("auto", "plugin"))}
    try:
        got = eiplane.ei_between(w, inputs, outputs, **options)
    except ValueError as error:
        _refused(error)
        return
    low, high = got.ei_bounds
    most = min(len(inputs), len(outputs)) * math.log2(options["bins"])
    if not 0.0 <= low <= high <= most + 1e-6:
        raise Wrong("bounds of a group", f"{got.ei_bounds}, at most {most}")
    if got.ei is not None and options["estimator"] == "auto":
        _in("ei of a group", got.ei, low - 1e-6, high + 1e-6)


@_fuzzed(1)
def _macro_units(rng: Rng) -> None:
    w, options = _weight(rng, 2), _layer(rng)
    options |= {"samples": 64, "search": pick(rng, ("auto", "spectral", "greedy", "exhaustive"))}
    try:
        got = eiplane.macro_units(w, **options)
    except ValueError as error:
        _refused(error)
        return
    for part, n in (("inputs", w.shape[1]), ("outputs", w.shape[0])):
        if sorted(i for unit in got for i in getattr(unit, part)) != list(range(n)):
            raise Wrong("no partition", f"{part}: {got}")
    str(got)


@_fuzzed(1)
def _through_time(rng: Rng) -> None:
    n = int(rng.integers(1, 3))
    w, options = rng.normal(size=(n, n)) * min(_scale(rng), 1e3), _layer(rng)
    for name in ("outliers", "out_range"):
        options.pop(name, None)
    options |= {
        "samples": int(rng.integers(16, 200)), "lags": pick(rng, (1, (1, 2), (3,), (1, 2, 4))),
        "measures": pick(rng, ("sensitivity", "ei_parts", ("sensitivity", "ei_parts"), "ei")),
        "inputs": pick(rng, ("noise", "fixed")),
    }  # fmt: skip
    if rng.random() < 0.5:
        options["state_range"] = pick(rng, ((-1.0, 1.0), (0.0, 1.0)))
    try:
        got = eiplane.through_time(w, **options)
    except ValueError as error:
        _refused(error)
        return
    bad = next((p for x in got for p in faults(x)), None)
    if bad:
        raise Wrong(bad.partition(" of ")[0], f"{bad}: {w.tolist()}, {options}")


@_fuzzed(3)
def _ablate(rng: Rng) -> None:
    w, options = _weight(rng), _layer(rng)
    before = w.copy()
    by = pick(rng, ("ei", "sensitivity", "degeneracy", "delta_ei_parts", "weight", "random"))
    if by == "delta_ei_parts":
        options["outliers"] = "clip"
    try:
        got = eiplane.ablate(
            [w], by, evaluate=lambda m: float((m[0] != 0).sum()),
            fraction=float(rng.random()) if rng.random() < 0.5 else [0.0, 0.3, 1.0],
            structure=pick(rng, ("edges", "inputs", "outputs")),
            order=pick(rng, ("lowest", "highest")), scope=pick(rng, ("layer", "network")), **options,
        )  # fmt: skip
    except ValueError as error:
        _refused(error)
        return
    if not np.array_equal(w, before):
        raise Wrong("the model was changed", by)
    if (np.diff(got.removed) < 0).any() or got.removed[-1] > got.total:
        raise Wrong("removed", f"{got.removed.tolist()} of {got.total}")
    if got.structure == "edges" and (before != 0).all():
        np.testing.assert_array_equal(got.scores, w.size - got.removed)


@_fuzzed(1)
def _convergence(rng: Rng) -> None:
    w, options = _weight(rng, 2), _layer(rng)
    what = pick(rng, (["plugin"], ["ei_parts"], ["conditional"]))
    try:
        got = eiplane.convergence(w, [2, int(rng.integers(2, 200))], quantities=what, **options)
    except ValueError as error:
        _refused(error)
        return
    if any(np.isinf(v).any() for v in got.values.values()):
        raise Wrong("infinite of convergence", str(got.values))


@_fuzzed(4)
def _convolutions(rng: Rng) -> None:
    groups = int(rng.integers(1, 3))
    shape = (
        groups * int(rng.integers(1, 3)),
        int(rng.integers(1, 3)),
        *rng.integers(1, 3, int(rng.integers(1, 3))),
    )
    pool = None
    if rng.random() < 0.3:
        pool = eiplane.Pool(pick(rng, ("max", "mean")), (2,) * (len(shape) - 2))
    bias = None if rng.random() < 0.5 else rng.normal(size=shape[0])
    layer = eiplane.Layer(
        rng.normal(size=shape), bias, pick(rng, CLOSED), "conv", groups=groups, pool=pool
    )
    got = eiplane.analyze(
        layer, measures="sensitivity", bins=2, samples=64, threads=1, progress=False
    )[0]
    if got.sensitivity_edges.shape != layer.edge_shape or not np.isfinite(got.sensitivity):
        raise Wrong("convolution", f"{got.sensitivity_edges.shape}, {layer}")


@_fuzzed(1)
def _ranges_of_data(rng: Rng) -> None:
    try:
        import torch
    except ImportError:
        return
    n = [int(k) for k in rng.integers(1, 4, 3)]
    net = torch.nn.Sequential(
        torch.nn.Linear(n[0], n[1]), torch.nn.ReLU(), torch.nn.Linear(n[1], n[2]), torch.nn.Tanh()
    )
    data = torch.from_numpy(rng.normal(size=(5, n[0])).astype("f4"))
    got = eiplane.analyze(
        net, ranges="data", input_data=data, quantiles=(0, 1), measures="sensitivity",
        bins=2, threads=1, progress=False,
    )  # fmt: skip
    low, high = float(data.min()), float(data.max())
    _near("range of data", got[0].in_range[0], low if low < high else low - 0.5, 1e-6)


# -- of a result ----------------------------------------------------------------------------------


@_fuzzed(3)
def _results(rng: Rng) -> None:
    w, options = _weight(rng), _layer(rng)
    options["measures"] = pick(rng, ("sensitivity", ("sensitivity", "ei_parts"), "bounds"))
    try:
        d = eiplane.analyze([w], **options)
    except ValueError as error:
        _refused(error)
        return
    path = scratch(os.getpid()) / "d.npz"
    d.save(path)
    again = eiplane.load(path)
    path.unlink()
    if again.to_json() != d.to_json() or str(again) != str(d):
        raise Wrong("saved and loaded is another", d.to_json()[:300])
    json.loads(d.to_json())
    d._repr_html_()
    d[0].to_dict(edges=True)
