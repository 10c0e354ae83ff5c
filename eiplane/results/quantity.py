"""A row of the table of quantities: what it is, where it lives, and what lists it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, NoReturn, TypeVar, overload

if TYPE_CHECKING:
    from .quantities import Quantities

__all__ = ["Quantity"]

T = TypeVar("T")


class Quantity(Generic[T]):
    r"""A row of the table: an attribute of a result, None where it was not measured.

    Its standard error is the quantity of the same name with ``_stderr`` after it, its rigorous
    bounds that with ``_bounds``, where the table has them.

    Parameters
    ----------
    *where : str
        Where it lives, as ``"part.attribute"``; of several the first part that was measured counts.
    doc : str
        What it is.
    compute : callable, optional
        Instead of ``where``: returns it from the result, or None.
    per : {"layer", "edge", "input", "output"}
        Of what each number is: anything but ``"layer"`` is an array.
    unit : str
        ``"bits"``, or ``""`` for shares, counts and words.
    needs : tuple of str
        The engines that :func:`eiplane.analyze` runs where its ``measures`` name this quantity; it
        cannot be asked for without any.
    heading : str, optional
        Of its column in the printed table; without one it has none.
    tracked : bool
        Whether a training's history follows it (an array: whether a tracker can keep it).
    words : str, optional
        What the report calls it; its name when left out.
    symbol : str, optional
        What pictures call it, without the unit; as ``words`` when left out.
    quiet : bool
        Whether pictures and pages leave it out where it is zero throughout.
    listed : bool
        Whether dictionaries and what is made of them (JSON, data frames, CSV, records) have it.

    Attributes
    ----------
    name : str
        That of the attribute.
    """

    name: str

    def __init__(
        self,
        *where: str,
        doc: str,
        compute: Callable[[Any], T | None] | None = None,
        per: Literal["layer", "edge", "input", "output"] = "layer",
        unit: str = "bits",
        needs: tuple[str, ...] = (),
        heading: str | None = None,
        tracked: bool = False,
        words: str | None = None,
        symbol: str | None = None,
        quiet: bool = False,
        listed: bool = True,
    ) -> None:
        self.where = tuple(tuple(place.split(".")) for place in where)
        self.__doc__ = doc
        self.compute = compute
        self.per = per
        self.unit = unit
        self.needs = needs
        self.heading = heading
        self.tracked = tracked
        self.quiet = quiet
        self.listed = listed
        self._words = words
        self._symbol = symbol

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @property
    def words(self) -> str:
        """What it is called in words."""
        return self.name.replace("_", " ") if self._words is None else self._words

    @property
    def symbol(self) -> str:
        """What a picture calls it."""
        return self.words if self._symbol is None else self._symbol

    @property
    def label(self) -> str:
        """What a picture's axis says: the symbol, and the unit if there is one."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol

    @overload
    def __get__(self, result: None, owner: type[Any]) -> Quantity[T]: ...
    @overload
    def __get__(self, result: Quantities, owner: type[Any]) -> T | None: ...
    def __get__(self, result: Quantities | None, owner: type[Any]) -> Quantity[T] | T | None:
        if result is None:
            return self
        if self.compute is not None:
            return self.compute(result)
        for part, attribute in self.where:
            measured = getattr(result, part)
            if measured is not None:
                value: T | None = getattr(measured, attribute)
                return value
        return None

    def __set__(self, result: Quantities, value: Never) -> NoReturn:
        # With it help() and documentation list the quantity as they list a property.
        raise AttributeError(f"{self.name} cannot be set: it follows from what was measured")

    def __repr__(self) -> str:
        return f"Quantity({self.name})"
