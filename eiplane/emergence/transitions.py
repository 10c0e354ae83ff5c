"""A transition matrix and its macro scale, measured: what :func:`eiplane.tpm` returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import json_text, require
from .partitions import Groups
from .scale import PER_STATE, TOTALS, Scale

if TYPE_CHECKING:
    import pandas

__all__ = ["MacroScale", "Transitions"]

#: Groups that are printed; the rest is counted.
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class MacroScale(Scale):
    """A coarse-graining of a transition matrix, with all that a :class:`.Scale` has; in bits.

    Parameters
    ----------
    matrix : ndarray of float64, shape (m, m)
        Between groups, setting each state of a group equally often.
    groups : tuple of tuple of int
        The micro states of each macro state.
    emergence : float
        EI of this scale less that of the micro scale; 0 where no macro scale was found that is
        better.
    search : str
        What found it: ``"exhaustive"``, ``"greedy"``, ``"spectral"``, or ``"given"``.
    """

    groups: Groups = ()
    emergence: float = 0.0
    search: str = "given"

    def to_dict(self, states: bool = True) -> dict[str, Any]:
        """Return plain Python numbers and lists; see :meth:`.Scale.to_dict`."""
        own = {
            "groups": [list(group) for group in self.groups],
            "emergence": self.emergence,
            "search": self.search,
        }
        return super().to_dict(states) | own


@dataclass(frozen=True, eq=False)
class Transitions(Scale):
    """A transition matrix, measured, with its macro scale; everything in bits or a share of them.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, m)
        Row i is the distribution of what follows state i.
    names : tuple of str
        Of the states that are set.
    macro : MacroScale or None
        The macro scale that was found or given: the micro scale itself where none is better. None
        where none was looked for.
    objective : str
        What the macro scale was chosen by, ``"ei"`` or ``"effectiveness"``.
    notes : tuple of str
        What is to be said beside.
    """

    names: tuple[str, ...] = ()
    macro: MacroScale | None = None
    objective: str = "ei"
    notes: tuple[str, ...] = ()

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The micro scale, and the macro scale where there is one."""
        return (self,) if self.macro is None else (self, self.macro)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of the printed table.

        Returns
        -------
        headings : list of str
        rows : list of list of str
        """
        rows = [
            [name, str(scale.n_states), *(f"{getattr(scale, key):.4g}" for key in TOTALS)]
            for name, scale in zip(("micro", "macro"), self.scales, strict=False)
        ]
        return ["scale", "states", *TOTALS.values()], rows

    def lines(self) -> list[str]:
        """Return what is printed below the table: the groups, and any notes."""
        found = []
        if self.macro is not None and len(self.macro.groups) < self.n_states:
            shown = [self._group(group) for group in self.macro.groups[:_SHOWN]]
            more = len(self.macro.groups) - len(shown)
            shown += [f"and {more} more"] if more else []
            how = "given" if self.macro.search == "given" else f"{self.macro.search} search"
            found.append(f"groups ({how}): {' '.join(shown)}")
            found.append(f"causal emergence: {self.macro.emergence:.4g} bits")
        elif self.macro is not None:
            found.append(f"no macro scale found with more {TOTALS[self.objective]}")
        return [*found, *self.notes]

    def _group(self, group: Sequence[int]) -> str:
        names = [self.names[i] for i in group]
        return "{" + ", ".join([*names[:_SHOWN], "..."] if len(names) > _SHOWN else names) + "}"

    def __str__(self) -> str:
        headings, rows = self.table()
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        body = [
            "  ".join([r[0].ljust(widths[0]), *map(str.rjust, r[1:], widths[1:])])
            for r in [headings, ["-" * w for w in widths], *rows]
        ]
        return "\n".join(body + self.lines())

    def __repr__(self) -> str:
        macro = "" if self.macro is None else f", macro of {len(self.macro.groups)}"
        return f"Transitions({self.n_states} states, EI {self.ei:.4g} bits{macro})"

    def __rich__(self) -> Any:
        """Return what rich prints: the table and the lines below."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        headings, rows = self.table()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for i, heading in enumerate(headings):
            table.add_column(heading, justify="right" if i else "left", no_wrap=True)
        for row in rows:
            table.add_row(Text(row[0], style="cyan"), *row[1:])
        return Group(table, *map(Text, self.lines()))

    def _repr_html_(self) -> str:
        headings, rows = self.table()
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
        body = "".join(
            f'<tr><th scope="row" style="text-align:left">{row[0]}</th>'
            + "".join(f'<td style="text-align:right">{cell}</td>' for cell in row[1:])
            + "</tr>"
            for row in rows
        )
        lines = "".join(f"<p>{escape(line)}</p>" for line in self.lines())
        return (
            f"<table><caption>Transition matrix, bits</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{lines}"
        )

    def to_dict(self, states: bool = True) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; see :meth:`.Scale.to_dict`."""
        macro = None if self.macro is None else self.macro.to_dict(states)
        own = {"names": list(self.names)} if states else {}
        return {
            "units": "bits",
            **super().to_dict(states),
            **own,
            "macro": macro,
            "objective": self.objective,
            "notes": list(self.notes),
        }

    def to_json(self, path: str | Path | None = None, states: bool = True) -> str:
        """Return the JSON text, and write it if a path is given.

        Parameters
        ----------
        path : path-like, optional
            Written whole or not at all.
        states : bool
            Whether to include the matrix and what is said of every state.

        Returns
        -------
        str
        """
        return json_text(self.to_dict(states), path)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas data frame, a row a state, indexed by its name.

        Raises
        ------
        ImportError
            If pandas is missing (``pip install "eiplane[pandas]"``).
        """
        pd = require("pandas", "pandas")
        columns = {name: getattr(self, name) for name in PER_STATE}
        if self.matrix.shape[0] != self.matrix.shape[1]:
            del columns["effect"]
        if self.macro is not None:
            group = {s: i for i, states in enumerate(self.macro.groups) for s in states}
            columns["group"] = [group[i] for i in range(self.n_states)]
        return pd.DataFrame(columns, index=pd.Index(self.names, name="state"))
