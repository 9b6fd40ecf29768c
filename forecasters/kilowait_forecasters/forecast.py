"""A forecast as it was issued: values with a band, who issued it, when, and what each part of it really is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic

from .errors import Refused
from .intensity import IntensitySeries, require_utc
from .signal import K, Signal
from .zone import Zone


@dataclass(frozen=True)
class Part:
    """From `start` on, values come from `source`; `note` says what they are when they are not a real forecast."""

    start: datetime
    source: str
    note: str = ""


@dataclass(frozen=True)
class Forecast(Generic[K]):
    """Intensity of one zone ahead of `issued_at`.

    `series` is the median in gCO2e/kWh; `low` and `high` are the p10 and p90 on the same span, or None where the source
    gives no band. `available_at` is when we could first have known it (never before `issued_at`). `parts` is in order
    of time and starts at the series' start.
    """

    zone: Zone
    signal: Signal[K]
    issued_at: datetime
    available_at: datetime
    series: IntensitySeries[K]
    parts: tuple[Part, ...]
    low: IntensitySeries[K] | None = None
    high: IntensitySeries[K] | None = None

    def __post_init__(self) -> None:
        for series in (self.series, self.low, self.high):
            if series is not None:
                self.signal.require(series.signal)
                if series.zone != self.zone:
                    raise Refused(f"forecast for {self.zone} holds values of zone {series.zone}")
        require_utc(self.issued_at, what="issue time")
        require_utc(self.available_at, what="time of availability")
        if self.available_at < self.issued_at:
            raise Refused(f"forecast for {self.zone} issued {self.issued_at} cannot be known at {self.available_at}")
        if not self.parts:
            raise Refused(f"forecast for {self.zone} does not say where it comes from")

    @property
    def source(self) -> str:
        """Names of the sources in order of time, joined by '+'."""
        return "+".join(dict.fromkeys(part.source for part in self.parts))

    def age(self, now: datetime) -> timedelta:
        """How old the forecast is at `now`."""
        return now - self.issued_at

    def part_at(self, moment: datetime) -> Part:
        """What the value at `moment` is made of."""
        return next((part for part in reversed(self.parts) if part.start <= moment), self.parts[0])

    def extended(self, tail: Forecast[K], *, until: datetime) -> Forecast[K]:
        """This forecast with `tail` where it has no value: after its end up to `until`, and in gaps before that.

        What is added keeps `tail`'s source and note, so nobody takes it for the provider's forecast. Where one of the
        two has no band, its median stands in for it. Raises OutOfRange or Gap where `tail` has no value either.
        """
        holes = list(self.series.gaps(self.series.start, until)) if until > self.series.start else []
        if not holes:
            return self

        def joined(ours: IntensitySeries[K] | None, theirs: IntensitySeries[K] | None) -> IntensitySeries[K]:
            lent = theirs or tail.series
            slots = [slot for start, end in holes for slot in lent.split(start, end)]
            return (ours or self.series).extended(
                IntensitySeries(zone=lent.zone, signal=lent.signal, source=lent.source, slots=slots)
            )

        banded = any(series is not None for series in (self.low, self.high, tail.low, tail.high))
        return Forecast(
            zone=self.zone,
            signal=self.signal,
            issued_at=self.issued_at,
            available_at=max(self.available_at, tail.available_at),
            series=joined(self.series, tail.series),
            parts=self._parts_with(tail, holes),
            low=joined(self.low, tail.low) if banded else None,
            high=joined(self.high, tail.high) if banded else None,
        )

    def _parts_with(self, tail: Forecast[K], holes: list[tuple[datetime, datetime]]) -> tuple[Part, ...]:
        parts = {part.start: part for part in self.parts}
        for start, end in holes:
            inside = [part for part in tail.parts if start < part.start < end]
            if end < self.series.end:
                parts.setdefault(end, replace(self.part_at(end), start=end))
            parts = {at: part for at, part in parts.items() if not start <= at < end}
            parts |= {part.start: part for part in (replace(tail.part_at(start), start=start), *inside)}
        return tuple(parts[at] for at in sorted(parts))
