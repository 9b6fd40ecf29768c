"""Intensity slots as pictures take them: with their band, and few enough to be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# More slots than this are thinner than a line of the picture; they are drawn as means.
_MOST_STEPS = 800


@dataclass(frozen=True)
class Slot:
    """Intensity on [start, end) in g/kWh; `low` and `high` are the band where there is one."""

    start: datetime
    end: datetime
    g_per_kwh: float
    estimated: bool = False
    low: float | None = None
    high: float | None = None


def top_of(slots: Iterable[Slot]) -> float:
    """The largest value to be drawn, in g/kWh."""
    return max((max(slot.g_per_kwh, slot.high or slot.g_per_kwh) for slot in slots), default=0.0)


def thinned(slots: Sequence[Slot], *, most: int = _MOST_STEPS) -> list[Slot]:
    """At most about `most` slots: neighbours become one with their mean by time; gaps and estimates are kept apart."""
    if len(slots) <= most:
        return list(slots)
    width = (slots[-1].end - slots[0].start) / most
    found: list[Slot] = []
    for slot in slots:
        last = found[-1] if found else None
        joins = last is not None and last.end == slot.start and last.estimated == slot.estimated
        if last is None or not joins or slot.end - last.start > width:
            found.append(slot)
            continue
        found[-1] = replace(
            last,
            end=slot.end,
            g_per_kwh=_mean(last, slot, last.g_per_kwh, slot.g_per_kwh) or 0.0,
            low=_mean(last, slot, last.low, slot.low),
            high=_mean(last, slot, last.high, slot.high),
        )
    return found


def _mean(first: Slot, second: Slot, a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    one, two = first.end - first.start, second.end - second.start
    return a + (b - a) * (two / (one + two))


def padded(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """A span that has a length, so that an axis can be drawn."""
    return (start, end) if end > start else (start, start + timedelta(hours=1))
