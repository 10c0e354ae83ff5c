"""What extraction finds in the families of networks that people use, held against the networks.

    python bench/architectures.py [FAMILY ...] [--package transformers] [--markdown-only]

Every family is made at random weights and a reduced size. For each: how many of the weight matrices
that its forward pass multiplies with are analysed, what is listed and why, where the layers' ranges
come from, and how long it takes. Of some layers of each, what follows them is found once more by
``watched.py``, which knows nothing of eiplane: it overwrites their outputs in the forward pass and
looks which tensors change; the layer's function has to be what they hold, and a few of its edges
have the sensitivity that is counted so. Families whose library is missing are named and left as
they were; results are kept in ``architectures.json`` and shown by ``architectures.md``.
"""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib
import importlib.metadata
import json
import logging
import re
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from families import FAMILIES, Family
from numpy.typing import NDArray

import eiplane
from eiplane.analyze import Plan
from eiplane.extract import ExtractOptions, to_network
from eiplane.run import Settings

HERE = Path(__file__).parent
KEPT, TABLE = HERE / "architectures.json", HERE / "architectures.md"

#: Layers of each family that are held against the network, features of each, points of a sweep.
LAYERS, FEATURES, SWEEP = 3, 1, 64

#: What single precision may do to a function, against its size; and to a count, in bits.
CLOSE, COUNTED = 1e-3, 0.02


def measured(family: Family) -> dict[str, Any]:
    """Return one family's row."""
    import torch
    from watched import multiplied

    module, inputs = family.made()
    given = inputs.get("", inputs)
    forward = min(_timed(lambda: _forward(torch, module, given)) for _ in range(5))
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=given))
    took = time.process_time() - start
    names = multiplied(module, given)
    counted, lost = _coverage(torch, module, names, found)
    plan = Plan(found.network, Settings("sensitivity", in_range=(0.0, 1.0)))
    sources = Counter(plan.range_source(i) for i in range(len(found.network)))
    assumed = [n for i, n in enumerate(found.network.names) if plan.range_source(i) == "assumed"]
    reasons = Counter(_plain(s.reason) for s in found.skipped)
    return {
        "library": family.package.partition(".")[0],
        "parameters": sum(p.numel() for p in module.parameters()),
        "matrices": counted,
        "analysed": counted - len(lost),
        "lost": lost,
        "layers": len(found.network),
        "listed": len(found.skipped),
        "reasons": dict(reasons.most_common()),
        "sources": dict(sources),
        "assumed": assumed,
        "refused": sum("reproduce" in s.reason for s in found.skipped),
        "unexpected": _unexpected(family, found.network),
        "checked": _held(module, given, found.network, plan),
        "ratio": took / forward,
        "seconds": took,
    }


def _forward(torch: Any, module: Any, given: Any) -> None:
    with torch.no_grad():
        module(given) if isinstance(given, torch.Tensor) else module(**given)


def _timed(work: Any) -> float:
    start = time.process_time()
    work()
    return max(time.process_time() - start, 1e-6)


def _plain(reason: str) -> str:
    return re.sub(r"\(\d[\d, ]*\)", "(...)", reason)


def _coverage(torch: Any, module: Any, names: set[str], found: Any) -> tuple[int, list[str]]:
    """Return how many matrices the forward pass has, and those that make no layer.

    A matrix is a parameter of two axes or more that an operator multiplies with, or that belongs to
    a module which is known to; not the tables of embeddings.
    """
    kinds = (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.Bilinear)
    owned = {
        f"{path}.{name}".lstrip(".")
        for path, part in module.named_modules()
        if isinstance(part, kinds)
        for name, p in part.named_parameters()
        if p.ndim > 1
    }
    tables = {
        f"{path}.weight".lstrip(".")
        for path, part in module.named_modules()
        if isinstance(part, torch.nn.Embedding)
    }
    layers = [_base(str(layer.name)) for layer in found.network]
    count, lost, seen = 0, [], set()
    for name, value in module.named_parameters():
        tied = [n for n, p in module.named_parameters(remove_duplicate=False) if p is value]
        if value.ndim < 2 or not (names | owned) & set(tied) or value.numel() == max(value.shape):
            continue
        if set(tied) <= tables and not names & set(tied):
            continue
        owner = re.sub(r"\.parametrizations\.weight\.original\d$", "", name)
        if owner != name and owner in seen:
            continue  # the halves of one weight
        seen.add(owner)
        count += 1
        titles = {re.sub(r"(\.|_)weight$", "", t) for t in [*tied, owner]}
        if not any(layer in titles or layer.rpartition(".")[0] in titles for layer in layers):
            lost.append(name)
    return count, lost


def _base(name: str) -> str:
    return re.sub(r"(\[|#).*$", "", name)


def _unexpected(family: Family, network: Any) -> list[str]:
    """Return the layers whose activation is not what the architecture says."""
    if not family.after:
        return []
    wrong = []
    for layer in network:
        name, found = str(layer.name), layer.activation.name
        wanted = next(
            (a for p, a in family.after.items() if fnmatch.fnmatch(name, p)
             or fnmatch.fnmatch(_base(name), p)), None
        )  # fmt: skip
        if wanted is not None and found != wanted:
            wrong.append(f"{name}: {found}, not {wanted}")
    return wrong


# -- held against the network -----------------------------------------------------------------


def _held(module: Any, given: Any, network: Any, plan: Plan) -> dict[str, Any]:
    """Return how some layers compare with what the network does."""
    rng = np.random.default_rng(0)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    parameters.update(module.named_buffers())
    result: dict[str, Any] = {"layers": 0, "edges": 0, "function": 0.0, "count": 0.0, "wrong": [],
                              "also": []}  # fmt: skip
    for i in rng.permutation(len(network)).tolist():
        layer = network[i].load()
        name = str(layer.name)
        title = re.sub(r"\[.*$", "", name)
        weight = parameters.get(title, parameters.get(f"{title}.weight"))
        if weight is None:
            weight = parameters.get(re.sub(r"\.[qkv]$", "_weight", title))
        if weight is None or "#" in name:
            continue
        one = _one(module, given, layer, weight, plan, i, rng)
        if one is None:
            continue
        result["layers"] += 1
        for key in ("function", "count"):
            result[key] = max(result[key], one[key])
        result["edges"] += one["edges"]
        if one["function"] > CLOSE or one["count"] > COUNTED:
            result["wrong"].append(name)
        if one["also"]:
            result["also"].append(f"{name}: {one['also']}")
        if result["layers"] >= LAYERS:
            break
    return result


def _one(
    module: Any, given: Any, layer: Any, weight: Any, plan: Plan, index: int, rng: Any
) -> dict[str, Any] | None:
    """Return how one layer compares, or None where its rows are not the weight's own."""
    from watched import Watched

    try:
        watched = Watched(module, given, weight, places=4)
    except LookupError:
        return None
    raw, bias = watched.matrix(), watched.bias()
    rows = layer.weight.reshape(layer.n_out, -1).astype(np.float64)
    if rows.shape[1] != raw.shape[1]:
        return None
    cosine = _unit(rows) @ _unit(raw).T
    found: dict[str, Any] = {"function": 0.0, "count": 0.0, "edges": 0, "also": ""}
    for row in rng.permutation(layer.n_out)[:FEATURES].tolist():
        feature = int(np.abs(cosine[row]).argmax())
        if abs(cosine[row, feature]) < 1 - 1e-5:
            return None
        scale = float(rows[row] @ raw[feature] / (raw[feature] @ raw[feature]))
        shift = float(layer.offsets()[row] - scale * bias[feature])

        def claimed(z: Any, row: int = row, scale: float = scale, shift: float = shift) -> Any:
            wide = np.broadcast_to(scale * np.asarray(z) + shift, (layer.n_out, len(z)))
            return layer.activation(np.array(wide), axis=0)[row]

        points = _points(watched, feature)
        curves = watched.curves(feature, points)
        gaps = [_gap(claimed(points), c.values.mean(1)) for c in curves]
        best = int(np.argmin(gaps))
        found["function"] = max(found["function"], gaps[best])
        last = curves[-1]
        if _bent(claimed(points), last.values.mean(1)):
            # By chance of these places, such as a residual that is 0 at all of them?
            many, fewer = Watched(module, given, weight, places=16), points[::3]
            last = many.curves(feature, fewer)[-1]
            if _bent(claimed(fewer), last.values.mean(1)):
                found["also"] = last.operator
        if layer.pool is None and gaps[best] <= CLOSE:
            unit = int(rng.integers(rows.shape[1]))
            found["count"] = max(
                found["count"],
                _counted(watched, curves[best], claimed, layer, plan, index, row, unit,
                         bias[feature], float(raw[feature, unit]), feature),
            )  # fmt: skip
            found["edges"] += 1
    return found


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(size == 0, 1.0, size)
    return unit


def _points(watched: Any, feature: int) -> NDArray[np.float64]:
    """Return numbers around those that the outputs had, and some ordinary ones."""
    own = watched.out.double().numpy()
    center, spread = float(own.mean()), float(own.std()) or 1.0
    near = center + spread * np.array([-2.9, -0.9, 0.31, 1.7])
    return np.sort(np.concatenate([near, [-4.3, -1.2, -0.41, 0.63, 2.1]]))


def _gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    size = float(max(np.abs(a).max(), np.abs(b).max(), 1e-6))
    return float(np.abs(a - b).max() / size)


def _bent(x: NDArray[np.float64], y: NDArray[np.float64]) -> bool:
    """Return whether y is more than a scale and a shift of x."""
    return _gap(*_line(x, y)) > CLOSE


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return a straight line's fit of y by x, and y."""
    matrix = np.stack([x, np.ones(len(x))], axis=1)
    return matrix @ np.linalg.lstsq(matrix, y, rcond=None)[0], y


def _counted(
    watched: Any, curve: Any, claimed: Any, layer: Any, plan: Plan, index: int, row: int,
    unit: int, bias: float, weight: float, feature: int,
) -> float:  # fmt: skip
    """Return how far an edge's counted sensitivity is from eiplane's, in bits.

    One input is swept over its range in the network itself. The same points are counted with the
    layer's function too: that difference is eiplane's; the other, what the sweep leaves out, is
    taken from a sweep a thousand times as fine.
    """
    in_range, out_range, bins = plan.in_range(index), plan.out_range(index), 8
    exact = eiplane.analyze([layer], measures="sensitivity", in_range=in_range,
                            out_range=out_range, bins=bins)  # fmt: skip
    told = float(exact[0].sensitivity_edges.reshape(layer.n_out, -1)[row, unit])

    def swept(count: int) -> NDArray[np.float64]:
        at = (np.arange(count) + 0.5) / count
        x: NDArray[np.float64] = in_range[0] + at * (in_range[1] - in_range[0])
        return x

    few, many = swept(SWEEP), swept(1000 * SWEEP)
    real = watched.evaluated(feature, curve, bias + weight * few)
    by_network = _information(few, real, in_range, out_range, bins)
    by_layer = _information(few, claimed(bias + weight * few), in_range, out_range, bins)
    fine = _information(many, claimed(bias + weight * many), in_range, out_range, bins)
    return max(abs(by_network - by_layer), abs(fine - told))


def _information(x: Any, y: Any, in_range: Any, out_range: Any, bins: int) -> float:
    def binned(v: Any, span: Any) -> Any:
        return np.clip(((v - span[0]) / (span[1] - span[0]) * bins).astype(int), 0, bins - 1)

    table = np.zeros((bins, bins))
    np.add.at(table, (binned(x, in_range), binned(y, out_range)), 1.0 / len(x))
    product = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    there = table > 0
    return float((table[there] * np.log2(table[there] / product[there])).sum())


# -- the table --------------------------------------------------------------------------------


def written(kept: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = kept["families"]
    order = [f.name for f in FAMILIES if f.name in rows]
    total = sum(rows[n]["matrices"] for n in order)
    analysed = sum(rows[n]["analysed"] for n in order)
    checked = [rows[n]["checked"] for n in order]
    lines = [
        f"{len(order)} families, {sum(rows[n]['layers'] for n in order)} layers, "
        f"{analysed} of {total} weight matrices analysed "
        f"({100 * analysed / max(1, total):.1f} per cent); "
        f"{sum(c['layers'] for c in checked)} layers held against their networks, of which "
        f"{sum(len(c['wrong']) for c in checked)} differed; sensitivity counted of "
        f"{sum(c['edges'] for c in checked)} edges, at most "
        f"{max((c['count'] for c in checked), default=0.0):.2g} bits off.",
        "",
        "| family | matrices | analysed | layers | listed | ranges | held | time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in order:
        r = rows[name]
        c = r["checked"]
        sources = ", ".join(f"{n} {s}" for s, n in sorted(r["sources"].items()))
        lines.append(
            f"| {name} | {r['matrices']} | {r['analysed']} | {r['layers']} | {r['listed']} "
            f"| {sources} | {c['layers']}, {c['edges']}, {c['function']:.0e}, {c['count']:.0e} "
            f"| {r['ratio']:.0f} |"
        )
    reasons: Counter[str] = Counter()
    for name in order:
        reasons.update(rows[name]["reasons"])
    lines += ["", "What is listed, and why:", "", "| reason | parts |", "|---|---|"]
    lines += [f"| {reason} | {n} |" for reason, n in reasons.most_common()]
    lost = [f"{n}: {', '.join(rows[n]['lost'][:4])}" for n in order if rows[n]["lost"]]
    assumed = [f"{n}: {', '.join(rows[n]['assumed'][:4])}" for n in order if rows[n]["assumed"]]
    if lost:
        lines += ["", "Matrices that make no layer: " + "; ".join(lost) + "."]
    if assumed:
        lines += ["", "Ranges that are assumed: " + "; ".join(assumed) + "."]
    versions = ", ".join(f"{k} {v}" for k, v in sorted(kept["versions"].items()))
    lines += ["", f"Found on {kept.get('date', 'an unknown day')}, with {versions}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("families", nargs="*", help="names of families; all when left out")
    parser.add_argument("--package", help="only families of this package")
    parser.add_argument("--markdown-only", action="store_true", help="write the table anew")
    chosen = parser.parse_args()
    kept: dict[str, Any] = {"families": {}, "versions": {}, "date": ""}
    if KEPT.exists():
        kept = json.loads(KEPT.read_text())
    logging.disable(logging.WARNING)
    bad = 0
    for family in [] if chosen.markdown_only else FAMILIES:
        if chosen.families and family.name not in chosen.families:
            continue
        if chosen.package and not family.package.startswith(chosen.package):
            continue
        try:
            importlib.import_module(family.package)
        except (ImportError, RuntimeError) as error:
            print(f"{family.name}: not importable here ({error})", file=sys.stderr)
            continue
        row = measured(family)
        kept["families"][family.name] = row
        kept["date"] = datetime.date.today().isoformat()
        for package in ("torch", "torchvision", "transformers"):
            try:
                kept["versions"][package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        problems = [*row["checked"]["wrong"], *row["unexpected"]]
        bad += bool(problems)
        print(f"{family.name}: {row['analysed']} of {row['matrices']} matrices, "
              f"{row['checked']['layers']} layers held against it")  # fmt: skip
        for line in [*problems, *row["lost"], *(f"also {n}" for n in row["checked"]["also"])]:
            print(f"    {line}")
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    TABLE.write_text(written(kept))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
