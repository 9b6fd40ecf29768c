"""Numbers and times for people: one unit per table, chosen by its largest number, so that columns can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kilowait_scheduler.core.months import zone_of

UNKNOWN = "–"  # what is not known; never a zero
_MINUS = "−"
_NARROW_SPACE = "\u202f"
_SPACE = "\u00a0"


@dataclass(frozen=True)
class Unit:
    """A unit and the number of decimals that go with it. `size` is one of it in base units (g, kWh)."""

    name: str
    size: float
    decimals: int

    def number(self, value: float | None, *, signed: bool = False) -> str:
        """`value` (base units) without the unit's name; a dash where it is not known.

        A number that is not zero never reads as zero: one too small for the table's decimals gets one more, and if
        that does not do, an upper bound stands for it.
        """
        if value is None:
            return UNKNOWN
        return decimal(value / self.size, decimals=self.decimals, signed=signed)

    def text(self, value: float | None, *, signed: bool = False) -> str:
        """`value` with the unit's name, on one line."""
        shown = self.number(value, signed=signed)
        return shown if value is None else f"{shown}{_SPACE}{self.name}"

    def axis(self, value: float) -> str:
        """`value` as an axis shows it: as many decimals as a round number needs."""
        return f"{round(value / self.size, 9):g}".replace("-", _MINUS)


def decimal(value: float, *, decimals: int, signed: bool = False) -> str:
    """`value` in fixed notation, thousands apart, with a true minus and, if `signed`, a plus."""
    if value == 0:
        return "0"
    if abs(value) < 0.5 * 10 ** -(decimals + 1):
        shown = f"<{10 ** -(decimals + 1):.{decimals + 1}f}"
    elif abs(value) < 0.5 * 10**-decimals:
        shown = f"{abs(value):.{decimals + 1}f}"
    else:
        shown = f"{abs(value):,.{decimals}f}".replace(",", _NARROW_SPACE)
    sign = _MINUS if value < 0 else "+" if signed else ""
    return sign + shown


_MASS = (("mg", 1e-3), ("g", 1.0), ("kg", 1e3), ("t", 1e6))
_ENERGY = (("Wh", 1e-3), ("kWh", 1.0), ("MWh", 1e3), ("GWh", 1e6))


def mass_unit(grams: Iterable[float | None]) -> Unit:
    """mg, g, kg or t: the largest in which the largest of `grams` is at least one."""
    return _fitting(_MASS, grams, fallback="g")


def energy_unit(kwh: Iterable[float | None]) -> Unit:
    """Wh, kWh, MWh or GWh: the largest in which the largest of `kwh` is at least one."""
    return _fitting(_ENERGY, kwh, fallback="kWh")


def _fitting(units: tuple[tuple[str, float], ...], values: Iterable[float | None], *, fallback: str) -> Unit:
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    if largest == 0:
        return next(Unit(name, size, 2) for name, size in units if name == fallback)
    # 0.9995 of a unit would be printed as 1.00 of it, so it counts as one.
    name, size = next(((n, s) for n, s in reversed(units) if largest >= 0.9995 * s), units[0])
    return Unit(name, size, 1 if largest >= 99.95 * size else 2)


def percent(value: float | None, *, signed: bool = False) -> str:
    """A percentage with its sign; a dash where it is not known."""
    if value is None:
        return UNKNOWN
    return f"{decimal(value, decimals=0 if abs(value) >= 99.95 else 1, signed=signed)}{_SPACE}%"


def moment(at: datetime) -> str:
    """A time for people, in UTC: day and minute."""
    at = at.astimezone(UTC)
    return f"{at:%a} {at.day} {at:%b} {at:%H:%M}"


def dated(at: datetime, timezone: str = "UTC") -> str:
    """A time for people, in that zone, with its year."""
    at = at.astimezone(zone_of(timezone))
    return f"{at.day} {at:%b %Y} {at:%H:%M}"
