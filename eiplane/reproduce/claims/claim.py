"""A claim, how it is measured, and the verdict that the measurements allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...files import json_text, require
from ..writing import markdown_table, write_summary

__all__ = ["CANNOT", "HOLDS", "HOLDS_NOT", "Claim", "Effect", "conclude"]

HOLDS = "holds"
HOLDS_NOT = "does not hold"
CANNOT = "cannot be told"

#: Of the interval of the mean over seeds on which a verdict rests.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Claim:
    """Something that can be true of networks.

    Parameters
    ----------
    name : str
        Of the experiment.
    says : str
        The claim, in a sentence.
    source : str
        Who made it, and where.
    measure : str
        What is computed in every run; greater than ``least`` is as the claim says. Chosen before
        the runs were made.
    unit : str
        Of the effect.
    least : float
        What the effect has to exceed.
    """

    name: str
    says: str
    source: str
    measure: str
    unit: str
    least: float = 0.0


@dataclass(frozen=True)
class Effect:
    """The measured effect in one case, a number a run.

    Parameters
    ----------
    case : str
        Data and network.
    values : tuple of float
        One a seed; NaN where it is not known.
    reason : str
        Why nothing can be said, whatever the values (a network that did not learn); else empty.
    """

    case: str
    values: tuple[float, ...]
    reason: str = ""

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the mean over seeds, by Student's t; NaN below two runs."""
        known = np.array([v for v in self.values if not math.isnan(v)])
        if len(known) < 2:
            return math.nan, math.nan
        stats = require("scipy.stats", "reproduce")
        half = stats.t.ppf(0.5 + CONFIDENCE / 2, len(known) - 1) * known.std(ddof=1)
        half /= math.sqrt(len(known))
        return float(known.mean() - half), float(known.mean() + half)

    def verdict(self, least: float) -> str:
        """Return whether the effect exceeds ``least``, does not, or neither can be said.

        The whole interval of the mean has to lie on one side, and every run be known.
        """
        low, high = self.interval()
        if self.reason or any(map(math.isnan, self.values)) or math.isnan(low):
            return CANNOT
        if low > least:
            return HOLDS
        return HOLDS_NOT if high <= least else CANNOT


def conclude(
    folder: Path, claim: Claim, effects: Sequence[Effect], notes: Sequence[str], quick: bool
) -> str:
    """Write ``summary.md`` and ``verdict.json``.

    Parameters
    ----------
    folder : pathlib.Path
    claim : Claim
    effects : sequence of Effect
        One a case.
    notes : sequence of str
        Paragraphs: what was run, and what else was seen.
    quick : bool
        Whether the runs were too short to conclude anything; the summary says so.

    Returns
    -------
    str
        The summary.
    """
    # A quick version would conclude something now and then, by chance.
    verdicts = [CANNOT if quick else e.verdict(claim.least) for e in effects]
    rows = [_row(effect, verdict) for effect, verdict in zip(effects, verdicts, strict=True)]
    bound = "" if claim.least == 0 else f" It has to exceed {claim.least:g}."
    parts = [
        f"# {claim.name}",
        "## What the paper, or its authors, say",
        f"{claim.says} ({claim.source})",
        "## The measure, fixed in advance",
        f"{claim.measure}{bound} Of the mean over runs the {CONFIDENCE:.0%} interval (Student's t) "
        "has to lie on one side as a whole; otherwise it cannot be told.",
        "## What was found",
    ]
    if quick:
        parts.append("**A quick version**: too short to conclude anything.")
    headings = ["case", "runs", f"effect ({claim.unit})", "least to greatest run", "interval"]
    parts.append(markdown_table([*headings, "verdict"], rows))
    parts += [f"{e.case}: {e.reason}." for e in effects if e.reason]
    parts.append(f"Verdict: {_overall(effects, verdicts)}.")
    parts += notes
    found = {
        "claim": asdict(claim),
        "quick": quick,
        "effects": [
            {
                "case": e.case,
                "values": [None if math.isnan(v) else v for v in e.values],
                "reason": e.reason,
                "verdict": verdict,
            }
            for e, verdict in zip(effects, verdicts, strict=True)
        ],
    }
    json_text(found, folder / "verdict.json")
    return write_summary(folder, "\n\n".join(parts))


def _row(effect: Effect, verdict: str) -> list[object]:
    known = [v for v in effect.values if not math.isnan(v)]
    low, high = effect.interval()
    return [
        effect.case,
        len(effect.values),
        "-" if not known else _number(float(np.mean(known))),
        "-" if not known else f"{_number(min(known))} to {_number(max(known))}",
        "-" if math.isnan(low) else f"{_number(low)} to {_number(high)}",
        verdict,
    ]


def _number(value: float) -> str:
    """Return three significant digits, without an exponent where that is readable."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _overall(effects: Sequence[Effect], verdicts: Sequence[str]) -> str:
    if len(set(verdicts)) == 1:
        return f"the claim **{verdicts[0]}**"
    parts = []
    for kind in (HOLDS, HOLDS_NOT, CANNOT):
        cases = [e.case for e, v in zip(effects, verdicts, strict=True) if v == kind]
        if cases:
            parts.append(f"it **{kind}** for {', '.join(cases)}")
    return "; ".join(parts)
