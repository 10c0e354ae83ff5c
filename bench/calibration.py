"""Campaigns of calibration: whether errors and bounds of EI are what they say, against known truth.

    python bench/calibration.py truths FOLDER            # count first: half an hour, once
    python bench/calibration.py small FOLDER [--samples 4000]    # counting, of few samples
    python bench/calibration.py known FOLDER [--seeds 10] [--blocks 4]   # shuffled blocks
    python bench/calibration.py counted FOLDER           # random layers against counting
    python bench/calibration.py bounds FOLDER            # how far apart bounds are
    python bench/calibration.py report FOLDER            # what was found so far

Truth comes from ``counting.py``, which knows nothing of eiplane. Every campaign goes on from where
it was stopped (``--minutes`` stops it); a line of JSON in FOLDER is one estimate.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from counting import Counter, Truth

import eiplane

#: A coupling of the blocks that changes nothing, but keeps them from being taken apart.
COUPLING = 1e-9

#: Samples of a first look at a layer's outputs, and the share that must have been met more often.
_FIRST, _REPEATS = 1 << 13, 0.55

CAMPAIGNS = ("small", "known", "counted", "bounds")


@dataclass(frozen=True, eq=False)
class Case:
    """A layer, and what of it is counted: ``(parts, how many of each)``."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None = None
    activation: str = "sigmoid"
    bins: tuple[int, int] = (8, 8)
    outliers: str = "clip"
    parts: tuple[np.ndarray, ...] = ()
    times: int = 1
    known: float | None = None
    span: tuple[float, float] | None = None

    @property
    def layer(self) -> eiplane.Layer:
        """The layer to be measured."""
        return eiplane.Layer(self.weight, self.bias, self.activation, self.name)

    @cached_property
    def out_range(self) -> tuple[float, float]:
        """The range of its outputs: that of the parts, where it has any."""
        if self.span is not None:
            return self.span
        weight = self.parts[0] if self.parts else self.weight
        layer = eiplane.Layer(weight, activation=self.activation)
        return eiplane.analyze([layer], measures="sensitivity", bins=2)[0].out_range

    def truth(self, counter: Counter) -> Truth | None:
        """Return its truth."""
        if self.known is not None:
            # The coupling moves outputs past the edges of bins: by no more than so many bits.
            moved = COUPLING * self.weight.shape[1] * self.bins[1]
            error = -2.0 * len(self.weight) * moved * math.log2(moved)
            return Truth(self.known, error, self.known, error, 1.0)
        found = [
            counter.count(part, self.activation, self.bins, self.out_range, self.outliers == "drop")
            for part in (self.parts or (self.weight,))
        ]
        if None in found:
            return None
        total = [getattr(t, n) for t in found for n in ("ei", "output")]
        errors = [getattr(t, n) for t in found for n in ("ei_error", "output_error")]
        return Truth(
            self.times * sum(total[::2]), self.times * math.hypot(*errors[::2]),
            self.times * sum(total[1::2]), self.times * math.hypot(*errors[1::2]), 1.0,
        )  # fmt: skip

    def measure(self, seed: int, **options: object) -> dict[str, object]:
        """Return what eiplane says."""
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = eiplane.analyze(
                [self.layer], measures="ei", bins=self.bins, out_range=self.out_range,
                outliers=self.outliers, rng=seed, threads=1, **options,
            )[0]  # fmt: skip
        return {
            "case": self.name, "seed": seed, "estimator": found.joint.estimator,
            "ei": found.ei, "error": found.ei_stderr, "bounds": found.ei_bounds,
            "output": found.output_entropy, "output_error": found.output_entropy_stderr,
            "output_bounds": found.output_entropy_bounds,
            "saturated": found.saturated, "seconds": time.process_time() - start,
        }  # fmt: skip


def uniform(rng, n_out, n_in, spread):
    """Return weights of a uniform distribution."""
    return rng.uniform(-spread, spread, (n_out, n_in)) / math.sqrt(n_in)


def small_cases() -> list[Case]:
    """Return 35 layers of 2 to 8 inputs and outputs, and two larger ones."""
    cases = []
    kinds = ("sigmoid", "tanh", "relu", "identity", "gelu", "silu")
    for i in range(35):
        rng = np.random.default_rng([12, i])
        n_in, n_out = rng.integers(2, 9, 2)
        bins = tuple(int(b) for b in rng.integers(4, 17, 2))
        weight = uniform(rng, n_out, n_in, rng.uniform(0.5, 6.0))
        drop = "drop" if rng.random() < 0.25 else "clip"
        cases.append(Case(f"small {i}", weight, None, kinds[i % 6], bins, drop))
    rng = np.random.default_rng(7)
    cases.append(Case("seven", uniform(rng, 7, 7, 6.0), outliers="drop"))
    cases.append(Case("seven normal", rng.normal(0.0, 6.0, (7, 7)) / math.sqrt(7), outliers="drop"))
    return cases


def known_cases(blocks: int) -> list[Case]:
    """Return 40 layers of shuffled blocks."""
    shapes = [(6, 6), (6, 6), (25, 6), (4, 12), (1, 1), (6, 12), (6, 6), (4, 12)]
    names = ["6→6", "6→6", "25→6", "4→12", "identity", "duplicated", "6→6", "4→12"]
    cases = []
    for i in range(40):
        rng = np.random.default_rng([13, i])
        (n_in, n_out), kind = shapes[i % 8], names[i % 8]
        activation = ("sigmoid", "tanh", "relu")[i % 3]
        bins = (4, 8, 16, 8)[i % 4]
        spread = 0.5 * 12.0 ** ((i * 0.618) % 1.0)
        label = f"{i}: {kind}, {activation}, {bins} bins, ±{spread:.2g}"
        if kind == "identity":
            count = 4 * blocks
            weight = np.eye(count)[rng.permutation(count)] + COUPLING
            known = count * math.log2(bins)
            cases.append(Case(label, weight, None, "identity", (bins, bins), known=known,
                              parts=(np.eye(1),)))  # fmt: skip
            continue
        part = uniform(rng, 6 if kind == "duplicated" else n_out, n_in, spread)
        cases.append(_shuffled(label, part, n_out, blocks, activation, bins, rng))
    return cases


def _shuffled(label, part, n_out, blocks, activation, bins, rng):
    """Return blocks that all have the EI of one, though none is like another."""
    n_in = part.shape[1]
    weight = np.full((blocks * n_out, blocks * n_in), COUPLING)
    bias = np.zeros(blocks * n_out)
    for k in range(blocks):
        rows, columns = rng.permutation(len(part)), rng.permutation(n_in)
        block = part[rows][:, columns]
        turned = rng.random(n_in) < 0.5  # 1 - x for x
        own = block[:, turned].sum(axis=1)
        block = np.where(turned, -block, block)
        again = rng.integers(0, len(part), n_out - len(part))  # outputs that are there already
        at = slice(k * n_out, (k + 1) * n_out)
        weight[at, k * n_in : (k + 1) * n_in] = np.vstack([block, block[again]])
        bias[at] = np.concatenate([own, own[again]])
    rows, columns = rng.permutation(len(weight)), rng.permutation(weight.shape[1])
    return Case(label, weight[rows][:, columns], bias[rows], activation, (bins, bins),
                parts=(part,), times=blocks)  # fmt: skip


def counted_cases(series: int = 14) -> list[Case]:
    """Return 60 layers of 2 to 24 outputs and 2 to 30 inputs, some of them expanding ones.

    Weights are as great as outputs that can be counted allow (:func:`shrunk`). Another series, and
    they are other layers.
    """
    cases = []
    kinds = ("sigmoid", "tanh", "relu", "identity", "gelu", "silu")
    for i in range(60):
        rng = np.random.default_rng([series, i])
        n_in, n_out = int(rng.integers(2, 31)), int(rng.integers(2, 25))
        if i % 6 == 5:
            n_in, n_out = ((3, 24), (4, 40))[i // 6 % 2]
        bins = int(rng.choice([4, 8, 8, 16]))
        cases.append(
            Case(f"counted {i}", uniform(rng, n_out, n_in, rng.uniform(0.5, 5.0)),
                 activation=kinds[i % 6], bins=(bins, bins))
        )  # fmt: skip
    return cases


def shrunk(case: Case, counter: Counter) -> Case:
    """Return a case whose outputs can be counted: weights are halved, and the range is not."""
    span = case.out_range
    while repeats(case, span) < _REPEATS or case.truth(counter) is None:
        case = Case(case.name, case.weight / 2.0, None, case.activation, case.bins, span=span)
    return case


def repeats(case: Case, span: tuple[float, float]) -> float:
    """Return the share of a first few samples whose outputs are not the only ones of their kind."""
    x = np.random.default_rng(0).random((_FIRST, case.weight.shape[1]))
    y = eiplane.get_activation(case.activation)(x @ case.weight.T)
    place = (y - span[0]) / (span[1] - span[0]) * case.bins[1]
    labels = np.clip(place, 0, case.bins[1] - 1).astype(np.int8)
    count = np.unique(labels, axis=0, return_counts=True)[1]
    return 1.0 - float((count == 1).sum()) / _FIRST


def bounds_cases() -> list[Case]:
    """Return the layers whose bounds have been promised."""
    shapes = [("100→50", 50, 100, 1.0), ("784→256", 256, 784, 5.0), ("64→256", 256, 64, 2.0)]
    return [
        Case(name, uniform(np.random.default_rng(0), m, n, spread)) for name, m, n, spread in shapes
    ]


class Campaign:
    """Estimates, one a line of a file."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.stop = path, time.monotonic() + 60.0 * minutes
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]
        self._done = {(r["case"], r["seed"], r["asked"]) for r in self.rows}

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() > self.stop

    def run(self, case: Case, seed: int, truth: Truth, asked: str = "auto", **options) -> None:
        """Measure once, if it was not."""
        if self.over or (case.name, seed, asked) in self._done:
            return
        row = case.measure(seed, estimator=asked, **options)
        row |= {"asked": asked, "truth": truth.ei, "truth_error": truth.ei_error,
                "true_output": truth.output}  # fmt: skip
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def summary(rows: list[dict]) -> list[str]:
    """Return what estimates of known truth come to, a line a case and one of all."""
    groups = defaultdict(list)
    for r in rows:
        groups[r["case"], r["asked"]].append(r)
    lines, ratios, within, spreads = [], [], [], []
    for (name, asked), own in groups.items():
        known = [r for r in own if r["ei"] is not None and not r["saturated"]]
        inside = sum(
            r["bounds"][0] <= r["truth"] + 4 * r["truth_error"]
            and r["truth"] - 4 * r["truth_error"] <= r["bounds"][1]
            for r in own
        )
        if not known:
            lines.append(f"{name:44} {asked:11} no estimate; truth in bounds {inside}/{len(own)}")
            continue
        off = np.array([r["ei"] - r["truth"] for r in known])
        error = np.array([math.hypot(r["error"], r["truth_error"]) for r in known])
        z = off / np.maximum(error, 1e-9)
        truth = known[0]["truth"]
        ratio = math.sqrt((off**2).mean() / (error**2).mean()) if error.any() else 0.0
        lines.append(
            f"{name:44} {known[0]['estimator']:11} truth {truth:8.3f}  rms error "
            f"{math.sqrt((off**2).mean()) / truth:7.3%} (mean {off.mean() / truth:+7.3%}) stated "
            f"{error.mean() / truth:7.3%}  ratio {ratio:5.2f}  "
            f"beyond 3: {(abs(z) > 3).sum()}/{len(z)}  in bounds {inside}/{len(own)}"
        )
        if error.max() > 1e-6:
            ratios += list(z)
            spreads.append(ratio)
        within.append(abs(off).max() / truth)
    z = np.array(ratios)
    if len(z):
        lines.append(
            f"all: rms of error/stated {math.sqrt((z**2).mean()):.3f}, cases alike "
            f"{math.sqrt(np.mean(np.square(spreads))):.3f}; beyond 3 {(abs(z) > 3).mean():.2%}, "
            f"beyond 4 {(abs(z) > 4).mean():.2%}; of {len(z)} estimates; "
            f"worst error {max(within):.2%}"
        )
    inside = [
        r["bounds"][0] <= r["truth"] + 4 * r["truth_error"]
        and r["truth"] - 4 * r["truth_error"] <= r["bounds"][1]
        for r in rows
    ]
    lines.append(f"truth inside the bounds: {sum(inside)} of {len(inside)}")
    return lines


def main() -> None:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("truths", *CAMPAIGNS, "report"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--blocks", type=int, default=4, help="of every layer of blocks")
    parser.add_argument("--samples", type=int, default=4000, help="of small")
    parser.add_argument("--series", type=int, default=14, help="of counted")
    parser.add_argument("--first", type=int, default=None, help="so many layers alone")
    parser.add_argument("--minutes", type=float, default=1e9)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    truths = told.folder.parent / "truths"
    if told.what == "report":
        for path in sorted(told.folder.glob("*.jsonl")):
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            print(f"== {path.stem}", *summary(rows), sep="\n")
        return
    fewest, small, large = (Counter(truths, 1 << k) for k in (20, 24, 25))
    if told.what == "truths":
        for cases, counter in ((small_cases(), small), (known_cases(1), large)):
            for case in cases:
                print(case.name, case.truth(counter), flush=True)
        for case in counted_cases(told.series):
            print(case.name, shrunk(case, fewest).truth(small), flush=True)
        return
    campaign = Campaign(told.folder / f"{told.what}.jsonl", told.minutes)
    if told.what == "small":
        campaign = Campaign(told.folder / f"small{told.samples}.jsonl", told.minutes)
        cases = [(c, c.truth(small)) for c in small_cases()]
        for seed in range(told.seeds):
            for case, truth in cases:
                if truth is not None:
                    campaign.run(case, seed, truth, "conditional", samples=told.samples)
    elif told.what == "known":
        campaign = Campaign(told.folder / f"known{told.blocks}.jsonl", told.minutes)
        cases = [(c, c.truth(large)) for c in known_cases(told.blocks)[: told.first]]
        for seed in range(told.seeds):
            for case, truth in cases:
                if truth is not None:
                    campaign.run(case, seed, truth)
    elif told.what == "counted":
        # What 2^20 samples say of the truth is less sure than what is to be held against it.
        cases = [shrunk(c, fewest) for c in counted_cases(told.series)[: told.first]]
        for seed in range(told.seeds):
            for case in cases:
                truth = case.truth(small)
                if truth is not None:
                    campaign.run(case, seed, truth)
                    campaign.run(case, seed, truth, "wide")
    else:
        for case in bounds_cases():
            row = case.measure(0)
            low, high = row["bounds"]
            print(
                f"{case.name}: EI {row['ei']:.2f} ± {row['error']:.2f} in "
                f"[{low:.2f}, {high:.2f}], gap {(high - low) / row['ei']:.1%}; "
                f"{row['seconds']:.1f} s of CPU",
                flush=True,
            )


if __name__ == "__main__":
    main()
