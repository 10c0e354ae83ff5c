"""Fuzzed calls of ``analyze``: shapes, dtypes, layouts, options, and extremes of the double range."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

import eiplane

from .campaign import Case, Wrong
from .exact import MOST_INPUTS, RISING, Output
from .sound import faults

#: Those whose bins' edges take a search of milliseconds come up less often.
SEARCHED = ("gelu", "gelu_tanh", "quick_gelu", "silu", "mish")
CLOSED = (
    "identity", "relu", "leaky_relu", "leaky_relu(0.25)", "leaky_relu(-0.5)", "sigmoid", "tanh",
    "softplus", "softplus(3)", "elu", "elu(0.3)", "selu", "hardtanh", "hardtanh(0, 6)", "hardsigmoid", "hardswish", "softsign",
)  # fmt: skip
ACTIVATIONS = (*(CLOSED * 5), *SEARCHED)
DTYPES = (
    "float64", "float64", "float64", "float32", "float16", ">f8", ">f4", "int8", "int32", "int64",
    "uint8", "uint16", "bool",
)  # fmt: skip
LAYOUTS = ("C", "F", "strided", "reversed", "read-only", "list", "offset")

#: Bits by which exact numbers may differ from the reference beside what they say themselves.
CLOSE = 1e-9


def pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    """Return one of them: quicker than NumPy, which makes an array first."""
    return choices[int(rng.random() * len(choices))]


def make(rng: np.random.Generator) -> Case:
    """Return a call: most are tiny, and few count vectors, so that many can be made."""
    extreme = rng.random() < 0.35
    size = pick(rng, ("tiny",) * 80 + ("small",) * 19 + ("large",))
    depth = 1 if rng.random() < 0.85 else int(rng.integers(2, 4))
    sizes = [_size(rng, size) for _ in range(depth + 1)]
    layers = [_layer(rng, a, b, extreme) for a, b in itertools.pairwise(sizes)]
    most = {"tiny": 4, "small": 9, "large": 65}[size]
    bins = [int(rng.integers(2, most + 1)), int(rng.integers(2, most + 1))]
    options: dict[str, Any] = {"bins": bins if rng.random() < 0.5 else bins[0]}
    if size == "large" and rng.random() < 0.3:
        del options["bins"]
    if rng.random() < 0.5:
        options["in_range"] = _ranges(rng, extreme, depth)
    if rng.random() < 0.4:
        options["out_range"] = _ranges(rng, extreme, depth)
    if rng.random() < 0.3:
        options["outliers"] = "drop"
    if rng.random() < 0.3:
        options["baseline"] = _number(rng, extreme)
    if rng.random() < 0.4:
        options["method"] = pick(rng, ("auto", "exact", "sample"))
    options["samples"] = int(2 ** rng.uniform(1, {"tiny": 7, "small": 10, "large": 12}[size]))
    if rng.random() < 0.05:
        options["tol"] = float(10 ** rng.uniform(-1, 1))
    if rng.random() < 0.25:
        options["estimator"] = pick(rng, ("plugin", "conditional", "wide"))
    options["measures"] = list(pick(rng, MEASURES))
    if size == "tiny" and depth == 1 and rng.random() < 0.004:  # up to seconds
        options["noise"] = _noise(rng, extreme)
        options.pop("outliers", None)
        if options.get("method") == "sample":
            del options["method"]
    if depth > 1 and rng.random() < 0.12:  # ten times what their layers cost
        options["spans"] = "all"
    if rng.random() < 0.1:
        options["layers"] = pick(rng, ("0", "*", ["0"], "[0-9]"))
    options["rng"] = int(rng.integers(1 << 31))
    options["threads"] = pick(
        rng, (1, 1, 1, 1, 1, 2, 3)
    )  # to start them costs more than most calls
    return {"layers": layers, "options": options}


#: What is asked for: edges cost a millisecond, vectors ten.
MEASURES = (
    *((("sensitivity",), ("ei_parts",), ("sensitivity", "ei_parts"), ("degeneracy",)) * 60),
    *((("bounds",), ("bounds", "ei_parts"), ("bounds", "sensitivity")) * 4),
    ("ei",), ("phi",), ("ei", "sensitivity", "ei_parts"), ("output_entropy",),
    ("redundancy_in", "redundancy_out"),
    ("degeneracy_joint", "effectiveness", "determinism", "specificity"),
)  # fmt: skip


def _size(rng: np.random.Generator, size: str) -> int:
    if size == "tiny":
        return int(rng.integers(1, 4))
    return int(rng.integers(1, 9)) if size == "small" else int(2 ** rng.uniform(0, 6.01))


def _noise(rng: np.random.Generator, extreme: bool) -> Any:
    size = abs(_scale(rng, extreme))
    return pick(rng, (size, ["gaussian", size], ["uniform", size], "dither"))


def _scale(rng: np.random.Generator, extreme: bool) -> float:
    """Return a power of ten: usual, or anywhere in the range of doubles."""
    if not extreme or rng.random() < 0.4:
        return float(10 ** rng.uniform(-2, 2))
    return float(10 ** rng.uniform(-323, 308))


def _number(rng: np.random.Generator, extreme: bool) -> float:
    return float(pick(rng, (0.0, 1.0, -1.0, rng.normal())) * _scale(rng, extreme))


def _ranges(rng: np.random.Generator, extreme: bool, depth: int) -> Any:
    """Return a range, or a mapping of layers to ranges."""
    if rng.random() < 0.8:
        return _range(rng, extreme)
    names: list[Any] = [str(i) for i in range(depth)] + ["*"]
    mapping = {pick(rng, names): _range(rng, extreme) for _ in range(int(rng.integers(1, 3)))}
    return {"mapping": mapping, "rest": _range(rng, extreme) if rng.random() < 0.3 else None}


def _range(rng: np.random.Generator, extreme: bool) -> list[float]:
    kind = rng.random()
    if extreme and kind < 0.2:  # a few units in the last place
        lo = _number(rng, True)
        by_one = rng.random() < 0.5
        return [lo, float(np.nextafter(lo, np.inf) if by_one else lo + 50 * np.spacing(abs(lo)))]
    if kind < 0.5:
        size = _scale(rng, extreme)
        return [-size, size] if rng.random() < 0.5 else [0.0, size]
    lo, width = _number(rng, extreme), abs(_scale(rng, extreme))
    return [lo, lo + width]


def _layer(rng: np.random.Generator, n_in: int, n_out: int, extreme: bool) -> Case:
    dtype = pick(rng, DTYPES)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        w = rng.normal(size=(n_out, n_in))
        if rng.random() < 0.2:  # rounded: ties, and thresholds met exactly
            w = np.rint(w * 4) / 4
        if rng.random() < 0.2:
            w *= rng.random(w.shape) < 0.5
        if extreme and rng.random() < 0.3:
            w *= 10.0 ** rng.uniform(-300, 300, w.shape)
        with np.errstate(all="ignore"):
            w = (w * _scale(rng, extreme)).astype(kind)
        w = np.nan_to_num(w)
    elif kind.kind == "b":
        w = rng.random((n_out, n_in)) < 0.5
    else:
        info = np.iinfo(kind)
        most = min(info.max, 3 if rng.random() < 0.5 else 10**9)
        w = rng.integers(max(info.min, -most), most, (n_out, n_in)).astype(kind)
    layer: Case = {"weight": w.tolist(), "dtype": dtype}
    if rng.random() < 0.5:
        layer["bias"] = [_number(rng, extreme) for _ in range(n_out)]
    layer["layout"] = pick(rng, LAYOUTS)
    layer["activation"] = pick(rng, ACTIVATIONS)
    what = rng.random()
    if what < 0.01:
        layer["activation"] = "of:" + pick(rng, list(FUNCTIONS))
    elif what < 0.03:
        layer["activation"] = [pick(rng, ACTIVATIONS) for _ in range(n_out)]
    return layer


def _steps(z: Any) -> Any:
    return np.round(np.clip(z, -3.0, 3.0) * 2.0) / 2.0


def _wave(z: Any) -> Any:
    return np.sin(np.clip(z, -40.0, 40.0))


def _hump(z: Any) -> Any:
    return np.exp(-(np.clip(z, -50.0, 50.0) ** 2))


def _gap(z: Any) -> Any:
    return np.where(z > 0.3, z + 1.0, 0.5 * z)


def _flat(z: Any) -> Any:
    return np.zeros_like(z)


#: What :meth:`eiplane.Activation.from_function` gets.
FUNCTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "steps": (_steps, {}),
    "steps in bounds": (_steps, {"natural_range": (-3.0, 3.0)}),
    "wave": (_wave, {"natural_range": (-1.0, 1.0)}),
    "hump": (_hump, {}),
    "gap": (_gap, {}),
    "flat": (_flat, {}),
    "root": (np.sqrt, {"interval": (0.0, 1e6)}),
}


def activation_of(layer: Case) -> Any:
    """Return the activation that a case names."""
    name = layer["activation"]
    if isinstance(name, list):
        return eiplane.per_row(name)
    if name.startswith("of:"):
        function, options = FUNCTIONS[name[3:]]
        return eiplane.Activation.from_function(function, name[3:], **options)
    return name


def array_of(layer: Case) -> Any:
    """Return the weight as the case has it laid out in memory."""
    w = np.array(layer["weight"], np.dtype(layer["dtype"]))
    layout = layer["layout"]
    if layout == "F":
        return np.asfortranarray(w)
    if layout == "strided":
        return np.repeat(np.repeat(w, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(w[::-1, ::-1])[::-1, ::-1]
    if layout == "read-only":
        w.flags.writeable = False
    if layout == "list":
        return w.tolist()
    if layout == "offset":  # not on a boundary of its own size
        data = bytearray(w.nbytes + 1)
        moved = np.frombuffer(data, np.uint8, w.nbytes, 1).view()
        moved[:] = np.frombuffer(np.ascontiguousarray(w).tobytes(), np.uint8)
        return np.frombuffer(data, w.dtype, w.size, 1).reshape(w.shape)
    return w


def call(case: Case, **changed: Any) -> eiplane.Decomposition:
    """Make the call of a case."""
    weights = [(array_of(x), x.get("bias")) for x in case["layers"]]
    weights = [(w, None if b is None else np.array(b)) for w, b in weights]
    activations = [activation_of(x) for x in case["layers"]]
    options = {**case["options"], **changed}
    for name in ("bins", "in_range", "out_range", "noise"):
        given = options.get(name)
        if isinstance(given, list):
            options[name] = tuple(given)
        if isinstance(given, dict):
            options[name] = dict(given["mapping"])
            if given["rest"]:
                options[name][None] = tuple(given["rest"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        warnings.simplefilter("ignore", eiplane.AssumedRangeWarning)
        return eiplane.analyze(weights, activations, progress=False, **options)


def is_ordinary(case: Case) -> bool:
    """Whether nothing of a call is near the ends of the double range: then it must succeed."""
    numbers = [abs(float(w)) for x in case["layers"] for row in x["weight"] for w in row]
    numbers += [abs(b) for x in case["layers"] for b in x.get("bias", [])]
    options = case["options"]
    numbers.append(abs(options.get("baseline", 0.0)))
    noise = options.get("noise", 0.0)
    numbers += [noise] if isinstance(noise, float) else noise[1:] if noise != "dither" else []
    for name in ("in_range", "out_range"):
        given = options.get(name, (0, 1))
        pairs = [given]
        if isinstance(given, dict):
            pairs = [*given["mapping"].values(), given["rest"] or (0, 1)]
        for lo, hi in pairs:
            if not hi - lo > 1e-9 * max(abs(lo), abs(hi)):
                return False
            numbers += [abs(lo), abs(hi), hi - lo]
    return all(n == 0 or 1e-60 < n < 1e60 for n in numbers)


#: Refusals of calls that are of no kind of numbers.
_REFUSED = (
    "method='exact' is for single layers", "noise is for single layers", "'wide' is for single",
    "no layer", "None is not", "is defined from", "turning points", "turns too often",
    "too many pieces", "too little for outputs", "too little for so wide inputs",  # Gaussian noise about a cliff
)  # fmt: skip


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    options = case["options"]
    try:
        result = call(case)
    except (ValueError, TypeError) as error:
        text = str(error)
        if any(words in text for words in _REFUSED):
            return
        if is_ordinary(case):
            raise Wrong("refused", text) from error
        if not any(word in text for word in ("layer", "range", "baseline", "noise")):
            raise Wrong("unclear", text) from error
        return
    plugin = options.get("estimator") == "plugin"
    noisy = "noise" in options
    bad = next((f"{x.name}: {p}" for x in result for p in faults(x, plugin, noisy)), None)
    if bad:
        raise Wrong(bad.partition(": ")[2].partition(" of ")[0], bad)
    number = options["rng"]  # what costs more than the call is done for some
    if len(case["layers"]) == 1 and number % 50 == 0 and not noisy and len(result):
        _compare(result[0], case)
    if number % 8 == 0:
        json.loads(result.to_json())
    if number % 32 == 1:
        other = call(case, threads=5 - options["threads"])
        if other.to_json() != result.to_json():
            raise Wrong("threads change numbers", "")


def _compare(layer: eiplane.LayerResult, case: Case) -> None:
    """Hold exact numbers of few inputs against fractions."""
    one = case["layers"][0]
    bins = (layer.in_bins, layer.out_bins)
    named = isinstance(one["activation"], str) and one["activation"] in RISING
    if layer.n_in > MOST_INPUTS or not named or max(bins) > 16:
        return
    w = np.array(one["weight"], np.dtype(one["dtype"])).astype(np.float64)
    bias = one.get("bias", [0.0] * layer.n_out)
    drop = layer.outliers == "drop"
    for b in range(min(layer.n_out, 2)):
        sizes = [abs(bias[b]), *np.abs(layer.out_range)]
        with np.errstate(over="ignore"):
            sizes += (np.abs(w[b]) * np.abs(layer.in_range).max()).tolist()
        if not all(map(math.isfinite, sizes)):
            continue
        unit = Fraction(1, 1 << 50)
        z = unit * Fraction(sum(map(Fraction, sizes)))
        e = unit * Fraction(max(map(abs, layer.out_range)))
        made = [
            Output(
                w[b], bias[b], one["activation"], bins, layer.in_range, layer.out_range, drop, x, y
            )
            for x, y in ((0, 0), (e, -z), (-e, z))
        ]
        for a in range(min(layer.n_in, 2)):
            base = case["options"].get("baseline", 0.0)
            for name, function in (
                ("pairwise_ei", lambda o: o.edge(a)),
                ("pairwise_sensitivity", lambda o: o.sensitivity(a, base)),
            ):
                part = getattr(layer, name)
                if part is not None and part.method == "exact":
                    _close(float(part.edges[b, a]), map(function, made), part.error_bound, name)
        joint = layer.joint
        cells = layer.in_bins**layer.n_in
        if joint is not None and layer.n_out == 1 and cells <= 512:
            exact, *moved = (o.whole() for o in made)
            slack = 1e-4 + 2 * max(abs(exact - m) for m in moved)
            low, high = joint.ei_bounds
            if not drop and not low - slack <= exact <= high + slack:
                raise Wrong("bounds miss the truth", f"{exact} not in [{low}, {high}]")
            known = joint.ei is not None and joint.samples == 0 and not drop
            if known and abs(joint.ei - exact) > slack:
                raise Wrong("exact ei differs", f"{joint.ei}, in fractions {exact}")


def _close(value: float, made: Any, bound: float | None, name: str) -> None:
    exact, *moved = made
    slack = CLOSE + (bound or 0.0) + 2 * max(abs(exact - m) for m in moved)
    if abs(value - exact) > slack:
        raise Wrong(f"{name} differs", f"{value!r}, in fractions {exact!r}, slack {slack:.2g}")


def smaller(case: Case) -> Iterator[Case]:
    """Return simpler calls."""
    layers, options = case["layers"], case["options"]
    for i in range(len(layers) if len(layers) > 1 else 0):
        cut = layers[:i] if i else layers[1:]
        yield {"layers": cut, "options": options}
    for name in list(options):
        if name != "rng":
            yield {"layers": layers, "options": {k: v for k, v in options.items() if k != name}}
    for i, layer in enumerate(layers):
        for change in _simpler(layer, len(layers) == 1):
            yield {"layers": [*layers[:i], change, *layers[i + 1 :]], "options": options}
    if isinstance(options.get("samples"), int) and options["samples"] > 64:
        yield {"layers": layers, "options": {**options, "samples": options["samples"] // 2}}
    if options["rng"] > 8:
        yield {"layers": layers, "options": {**options, "rng": options["rng"] % 8}}


def _simpler(layer: Case, alone: bool) -> Iterator[Case]:
    if isinstance(layer["activation"], list):
        yield {**layer, "activation": layer["activation"][0]}
    if "bias" in layer:
        yield {k: v for k, v in layer.items() if k != "bias"}
    if layer["layout"] != "C":
        yield {**layer, "layout": "C"}
    if layer["dtype"] != "float64":
        yield {**layer, "dtype": "float64"}
    rows = layer["weight"]
    if alone and len(rows) > 1:
        half = (len(rows) + 1) // 2
        for cut in (slice(0, half), slice(half, None), slice(1, None)):
            yield {
                **layer,
                "weight": rows[cut],
                **({"bias": layer["bias"][cut]} if "bias" in layer else {}),
            }
    if alone and len(rows[0]) > 1:
        half = (len(rows[0]) + 1) // 2
        for cut in (slice(0, half), slice(half, None), slice(1, None)):
            yield {**layer, "weight": [r[cut] for r in rows]}
    if len(rows) * len(rows[0]) <= 16:
        for b, row in enumerate(rows):
            for a, value in enumerate(row):
                for simple in (0.0, 1.0, float(np.float64(f"{float(value):.1e}"))):
                    if float(value) not in (0.0, 1.0, simple):
                        changed = [list(r) for r in rows]
                        changed[b][a] = simple
                        yield {**layer, "weight": changed}
