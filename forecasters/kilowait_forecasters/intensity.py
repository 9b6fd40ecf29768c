"""Intensity over time: half-open UTC slots, exact means over any span, no gaps bridged, nothing extrapolated."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Generic

from .errors import Gap, OutOfRange, Refused
from .signal import K, Signal
from .zone import Zone

_MICROSECOND = timedelta(microseconds=1)


def require_utc(moment: datetime, *, what: str) -> datetime:
    """`moment` unchanged if it is an aware UTC datetime. Raises Refused otherwise."""
    if moment.tzinfo is None or moment.utcoffset() != timedelta(0):
        raise Refused(f"{what} {moment.isoformat()} is not an aware UTC time; add a 'Z' or convert it")
    return moment


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND


@dataclass(frozen=True)
class Slot:
    """One value on [start, end), in gCO2e/kWh; `estimated` where the source says so (or we do)."""

    start: datetime
    end: datetime
    g_per_kwh: float
    estimated: bool = False

    def __post_init__(self) -> None:
        require_utc(self.start, what="slot start")
        require_utc(self.end, what="slot end")
        if self.end <= self.start:
            raise Refused(f"slot {self.start.isoformat()} to {self.end.isoformat()} has no length")
        if not math.isfinite(self.g_per_kwh):
            raise Refused(f"intensity at {self.start.isoformat()} is {self.g_per_kwh}; a missing value is not a number")


class IntensitySeries(Generic[K]):
    """Intensity of one zone and signal as ordered, non-overlapping slots; immutable.

    Slots may leave gaps; every question that touches a gap or leaves the series is refused (Gap, OutOfRange), so a
    missing hour can never be read as a clean one. Means and integrals are exact, by time, in O(log slots).
    """

    __slots__ = ("_ends", "_runs", "_starts", "_sums", "signal", "slots", "source", "zone")

    def __init__(self, *, zone: Zone, signal: Signal[K], source: str, slots: Iterable[Slot]) -> None:
        ordered = tuple(sorted(slots, key=lambda slot: slot.start))
        if not ordered:
            raise Refused(f"{source}: no intensity values for zone {zone}")
        for before, after in pairwise(ordered):
            if after.start < before.end:
                raise Refused(f"{source}: two values for zone {zone} at {after.start.isoformat()}")
        self.zone = zone
        self.signal = signal
        self.source = source
        self.slots: tuple[Slot, ...] = ordered
        self._starts = [_us(slot.start) for slot in ordered]
        self._ends = [_us(slot.end) for slot in ordered]
        # Cumulated g/kWh x microseconds before each slot, and the index of the gap-free stretch each slot is in.
        self._sums = [0.0]
        self._runs = [0]
        for index, slot in enumerate(ordered):
            self._sums.append(self._sums[-1] + slot.g_per_kwh * (self._ends[index] - self._starts[index]))
            if index:
                self._runs.append(self._runs[-1] + (self._starts[index] != self._ends[index - 1]))

    @property
    def start(self) -> datetime:
        return self.slots[0].start

    @property
    def end(self) -> datetime:
        return self.slots[-1].end

    def _index(self, us: int, *, asked: datetime) -> int:
        index = bisect_right(self._starts, us) - 1
        if index < 0 or us > self._ends[-1]:
            raise OutOfRange(
                f"{self.source}: zone {self.zone} has values from {self.start.isoformat()} to {self.end.isoformat()}, "
                f"not at {asked.isoformat()}"
            )
        return index

    def at(self, moment: datetime) -> float:
        """gCO2e/kWh of the slot that holds `moment`. Raises OutOfRange or Gap."""
        return self.slot_at(moment).g_per_kwh

    def slot_at(self, moment: datetime) -> Slot:
        """The slot that holds `moment`. Raises OutOfRange or Gap."""
        us = _us(require_utc(moment, what="time"))
        index = self._index(us, asked=moment)
        if us >= self._ends[index]:
            if index == len(self.slots) - 1:
                raise OutOfRange(f"{self.source}: zone {self.zone} ends at {self.end.isoformat()}")
            raise Gap(f"{self.source}: zone {self.zone} has no value at {moment.isoformat()}")
        return self.slots[index]

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether [start, end) has a length and every instant of it has a value."""
        first, last = _us(start), _us(end)
        if last <= first:
            return False
        index = bisect_right(self._starts, first) - 1
        if index < 0 or first >= self._ends[index]:
            return False
        final = bisect_right(self._starts, last - 1) - 1
        return last <= self._ends[final] and self._runs[final] == self._runs[index]

    def mean(self, start: datetime, end: datetime) -> float:
        """Time-weighted mean over [start, end) in gCO2e/kWh. Raises OutOfRange, Gap, or Refused on an empty span."""
        self._require_cover(start, end)
        first, last = _us(start), _us(end)
        return (self._integral(last) - self._integral(first)) / (last - first)

    def means(self, edges: Sequence[datetime]) -> list[float]:
        """Means over the spans between consecutive `edges` (n ascending edges give n - 1 values, gCO2e/kWh).

        Raises OutOfRange, Gap, or Refused where there are fewer than two edges or they do not ascend.
        """
        if len(edges) < 2:
            raise Refused(f"means over {len(edges)} edges: give at least two, in ascending order")
        at_us = [_us(require_utc(edge, what="edge")) for edge in edges]
        if any(after <= before for before, after in pairwise(at_us)):
            raise Refused(f"edges from {edges[0].isoformat()} to {edges[-1].isoformat()} do not ascend; sort them")
        self._require_cover(edges[0], edges[-1])
        integrals = [self._integral(us) for us in at_us]
        return [
            (b - a) / (after - before)
            for (a, b), (before, after) in zip(pairwise(integrals), pairwise(at_us), strict=True)
        ]

    def _require_cover(self, start: datetime, end: datetime) -> None:
        if require_utc(end, what="end") <= require_utc(start, what="start"):
            raise Refused(f"span {start.isoformat()} to {end.isoformat()} has no length")
        if self.covers(start, end):
            return
        if start < self.start or end > self.end:
            raise OutOfRange(
                f"{self.source}: zone {self.zone} has values from {self.start.isoformat()} to {self.end.isoformat()}, "
                f"not for {start.isoformat()} to {end.isoformat()}"
            )
        hole_start, hole_end = next(self.gaps(start, end))
        raise Gap(
            f"{self.source}: zone {self.zone} has no value from {hole_start.isoformat()} to {hole_end.isoformat()}"
        )

    def _integral(self, us: int) -> float:
        index = max(bisect_right(self._starts, us) - 1, 0)
        return self._sums[index] + self.slots[index].g_per_kwh * (min(us, self._ends[index]) - self._starts[index])

    def split(self, start: datetime, end: datetime) -> Iterator[Slot]:
        """The slots of [start, end), cut at its edges, in order. Raises OutOfRange or Gap."""
        self._require_cover(start, end)
        for index in range(bisect_right(self._starts, _us(start)) - 1, len(self.slots)):
            slot = self.slots[index]
            if slot.start >= end:
                return
            if slot.start >= start and slot.end <= end:
                yield slot
            else:
                yield Slot(max(slot.start, start), min(slot.end, end), slot.g_per_kwh, slot.estimated)

    def between(self, start: datetime, end: datetime) -> IntensitySeries[K]:
        """The part on [start, end). Raises OutOfRange or Gap."""
        return IntensitySeries(zone=self.zone, signal=self.signal, source=self.source, slots=self.split(start, end))

    def gaps(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The spans of [start, end) without a value, in order, those before and after the series included."""
        cursor = require_utc(start, what="start")
        require_utc(end, what="end")
        for index in range(max(bisect_right(self._starts, _us(start)) - 1, 0), len(self.slots)):
            slot = self.slots[index]
            if slot.start >= end:
                break
            if slot.start > cursor:
                yield cursor, slot.start
            cursor = max(cursor, slot.end)
        if cursor < end:
            yield cursor, end

    def extended(self, other: IntensitySeries[K]) -> IntensitySeries[K]:
        """This series, with the values of `other` where it has none. Raises SignalMismatch, or Refused on zones."""
        self.signal.require(other.signal)
        if self.zone != other.zone:
            raise Refused(f"zone {self.zone} cannot be filled from zone {other.zone}")
        added = [
            Slot(start, end, slot.g_per_kwh, slot.estimated)
            for slot in other.slots
            for start, end in self.gaps(slot.start, slot.end)
        ]
        names = dict.fromkeys((*self.source.split("+"), *(other.source.split("+") if added else ())))
        return IntensitySeries(zone=self.zone, signal=self.signal, source="+".join(names), slots=(*self.slots, *added))

    def estimated_share(self, start: datetime, end: datetime) -> float:
        """Share of [start, end) by time, 0..1, whose values are estimates."""
        total = (end - start) / _MICROSECOND
        return sum((s.end - s.start) / _MICROSECOND for s in self.split(start, end) if s.estimated) / total
