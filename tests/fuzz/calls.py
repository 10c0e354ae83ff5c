"""Fuzzed calls of ``analyze``: shapes, dtypes, layouts, options, and extremes of the double range."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

import eiplane

from .campaign import Case, Wrong
from .exact import MOST_INPUTS, RISING, Output

ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "leaky_relu(0.25)", "leaky_relu(-0.5)", "sigmoid", "tanh",
    "softplus", "softplus(3)", "gelu", "gelu_tanh", "quick_gelu", "silu", "mish", "elu", "elu(0.3)",
    "selu", "hardtanh", "hardtanh(0, 6)", "hardsigmoid", "hardswish", "softsign",
)  # fmt: skip
DTYPES = (
    "float64", "float64", "float64", "float32", "float16", ">f8", ">f4", "int8", "int32", "int64",
    "uint8", "uint16", "bool",
)  # fmt: skip
LAYOUTS = ("C", "F", "strided", "reversed", "read-only", "list", "offset")

#: Bits by which exact numbers may differ from the reference beside what they say themselves.
CLOSE = 1e-9


def make(rng: np.random.Generator) -> Case:
    """Return a call."""
    extreme = rng.random() < 0.35
    depth = 1 if rng.random() < 0.8 else int(rng.integers(2, 4))
    few = rng.random() < 0.5
    sizes = [int(rng.integers(1, 5)) if few else _size(rng) for _ in range(depth + 1)]
    layers = [_layer(rng, a, b, extreme) for a, b in zip(sizes, sizes[1:], strict=False)]
    options: dict[str, Any] = {}
    if rng.random() < 0.6:
        most = 9 if rng.random() < 0.9 else 65
        bins = [int(rng.integers(2, most)), int(rng.integers(2, most))]
        options["bins"] = bins if rng.random() < 0.5 else bins[0]
    if rng.random() < 0.5:
        options["in_range"] = _range(rng, extreme)
    if rng.random() < 0.4:
        options["out_range"] = _range(rng, extreme)
    if rng.random() < 0.3:
        options["outliers"] = "drop"
    if rng.random() < 0.3:
        options["baseline"] = _number(rng, extreme)
    if rng.random() < 0.4:
        options["method"] = str(rng.choice(["auto", "exact", "sample"]))
    options["samples"] = int(2 ** rng.uniform(1, 12))
    if rng.random() < 0.2:
        options["tol"] = float(10 ** rng.uniform(-3, 1))
    if rng.random() < 0.25:
        options["estimator"] = "plugin"
    if rng.random() < 0.3:
        names = ["sensitivity", "ei_parts", "ei", "degeneracy", "phi", "output_entropy"]
        options["measures"] = [str(n) for n in rng.choice(names, int(rng.integers(1, 4)), False)]
    if rng.random() < 0.15:
        options["spans"] = "all"
    options["rng"] = int(rng.integers(1 << 31))
    options["threads"] = int(rng.integers(1, 4))
    return {"layers": layers, "options": options}


def _size(rng: np.random.Generator) -> int:
    return int(2 ** rng.uniform(0, 6.01))


def _scale(rng: np.random.Generator, extreme: bool) -> float:
    """Return a power of ten: usual, or anywhere in the range of doubles."""
    if not extreme or rng.random() < 0.4:
        return float(10 ** rng.uniform(-2, 2))
    return float(10 ** rng.uniform(-323, 308))


def _number(rng: np.random.Generator, extreme: bool) -> float:
    return float(rng.choice([0.0, 1.0, -1.0, rng.normal()]) * _scale(rng, extreme))


def _range(rng: np.random.Generator, extreme: bool) -> list[float]:
    kind = rng.random()
    if extreme and kind < 0.2:  # a few units in the last place
        lo = _number(rng, True)
        return [
            lo,
            float(
                np.nextafter(lo, np.inf) if rng.random() < 0.5 else lo + 50 * np.spacing(abs(lo))
            ),
        ]
    if kind < 0.5:
        size = _scale(rng, extreme)
        return [-size, size] if rng.random() < 0.5 else [0.0, size]
    lo, width = _number(rng, extreme), abs(_scale(rng, extreme))
    return [lo, lo + width]


def _layer(rng: np.random.Generator, n_in: int, n_out: int, extreme: bool) -> Case:
    dtype = str(rng.choice(DTYPES))
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
    layer["layout"] = str(rng.choice(LAYOUTS))
    layer["activation"] = str(rng.choice(ACTIVATIONS))
    return layer


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
    activations = [x["activation"] for x in case["layers"]]
    options = {**case["options"], **changed}
    for name in ("bins", "in_range", "out_range"):
        if isinstance(options.get(name), list):
            options[name] = tuple(options[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        return eiplane.analyze(weights, activations, progress=False, **options)


def is_ordinary(case: Case) -> bool:
    """Whether nothing of a call is near the ends of the double range: then it must succeed."""
    numbers = [abs(float(w)) for x in case["layers"] for row in x["weight"] for w in row]
    numbers += [abs(b) for x in case["layers"] for b in x.get("bias", [])]
    options = case["options"]
    numbers.append(abs(options.get("baseline", 0.0)))
    for name in ("in_range", "out_range"):
        lo, hi = options.get(name, (0, 1))
        if not hi - lo > 1e-9 * max(abs(lo), abs(hi)):
            return False
        numbers += [abs(lo), abs(hi), hi - lo]
    return all(n == 0 or 1e-60 < n < 1e60 for n in numbers)


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    try:
        result = call(case)
    except (ValueError, TypeError) as error:
        text = str(error)
        if "method='exact' is for single layers" in text:
            return
        if is_ordinary(case):
            raise Wrong("refused", text) from error
        if not any(word in text for word in ("layer", "range", "baseline")):
            raise Wrong("unclear", text) from error
        return
    bad = next((f"{x.name}: {p}" for x in result for p in _faults(x, case)), None)
    if bad:
        raise Wrong(bad.partition(": ")[2].partition(" of ")[0], bad)
    if len(case["layers"]) == 1:
        _compare(result[0], case)
    json.loads(result.to_json())
    if case["options"]["rng"] % 8 == 0:
        other = call(case, threads=5 - case["options"]["threads"])
        if other.to_json() != result.to_json():
            raise Wrong("threads change numbers", "")


def _faults(layer: eiplane.LayerResult, case: Case) -> Iterator[str]:
    for name in ("pairwise_sensitivity", "pairwise_ei"):
        part = getattr(layer, name)
        if part is None:
            continue
        most = math.log2(min(layer.in_bins, layer.out_bins))
        if not np.isfinite(part.edges).all() or not math.isfinite(part.total):
            yield f"not finite of {name}"
        elif part.method == "exact":
            slack = 1e-9 + (part.error_bound or 0.0)
            if not math.isfinite(slack):
                yield f"error_bound not finite of {name}"
            if part.edges.min() < -slack or part.edges.max() > most + slack:
                yield f"outside 0..log2 of {name}: {part.edges.min()}, {part.edges.max()}"
        else:
            error = part.edges_stderr
            if error is None or not np.isfinite(error).all() or not (part.stderr or 0.0) >= 0.0:
                yield f"no error of {name}"
            elif part.edges_plugin is not None and (
                part.edges_plugin.max() > most + 1e-9 or part.edges_plugin.min() < -1e-9
            ):
                yield f"plugin outside 0..log2 of {name}"
            elif (part.edges - most > 6 * error + 1e-9).any():
                yield f"sampled beyond log2 of {name}: {part.edges.max()} > {most}"
            elif not math.isfinite(part.stderr or 0.0):
                yield f"stderr not finite of {name}"
        if not 0.0 <= part.outlier_fraction <= 1.0 + 1e-12:
            yield f"outlier fraction of {name}: {part.outlier_fraction}"
    joint = layer.joint
    if joint is None:
        return
    numbers = [joint.ei, joint.ei_stderr, *joint.ei_bounds, joint.output_entropy, joint.coverage]
    numbers += [joint.output_entropy_stderr, joint.outlier_fraction]
    numbers = [n for n in numbers if n is not None]  # not known: said so
    for more in (joint.influence_in, joint.influence_out):
        numbers += [] if more is None else more.tolist()
    if not all(map(math.isfinite, numbers)):
        yield f"not finite of joint: {numbers[:8]}"
        return
    low, high = joint.ei_bounds
    most = min(layer.n_in * math.log2(layer.in_bins), layer.n_out * math.log2(layer.out_bins))
    if low > high or low < 0.0:
        yield f"bounds of ei: {joint.ei_bounds}"
    if high > most + 1e-6:
        yield f"bounds wider than trivial of ei: {joint.ei_bounds}, at most {most}"
    if joint.ei is None:
        return
    if not low - 1e-6 <= joint.ei <= high + 1e-6:
        if case["options"].get("estimator") != "plugin":
            yield f"outside its bounds of ei: {joint.ei} in {joint.ei_bounds}"
        elif joint.ei_stderr is not None and (
            joint.ei + joint.ei_stderr < low - 1e-6 or joint.ei - joint.ei_stderr > high + 1e-6
        ):
            yield (
                "outside its bounds by more than its error of ei: "
                f"{joint.ei} +- {joint.ei_stderr}, {joint.ei_bounds}"
            )
    if min(joint.ei_stderr or 0.0, joint.output_entropy_stderr or 0.0) < 0.0:
        yield "negative error of joint"
    if (
        joint.output_entropy is not None
        and joint.output_entropy > layer.n_out * math.log2(layer.out_bins) + 1e-6
    ):
        yield f"output entropy above log2 of joint: {joint.output_entropy}"


def _compare(layer: eiplane.LayerResult, case: Case) -> None:
    """Hold exact numbers of few inputs against fractions."""
    one = case["layers"][0]
    bins = (layer.in_bins, layer.out_bins)
    if layer.n_in > MOST_INPUTS or one["activation"] not in RISING or max(bins) > 16:
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
