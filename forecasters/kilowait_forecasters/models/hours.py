"""A zone's past as arrays of whole hours, and what of it was known at an instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kilowait_forecasters.errors import Refused
from kilowait_forecasters.intensity import IntensitySeries, require_utc
from kilowait_forecasters.mix import MixSlot

Floats = NDArray[np.floating[Any]]
# Values by column and hour since 1970; an hour without a value is absent.
Columns = dict[str, dict[int, float]]

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# With less of the past's weather a model would learn from what it had to make up.
_LEAST_KNOWN = 0.95
# What is announced is gone by where it was known for most of so long: also a fit on trial, which learns only from what
# was known up to twelve weeks before, then has a month of it.
_LATELY_H, LEAST_ANNOUNCED_H = 120 * 24, 28 * 24
# What is usual lies between the outer of these quantiles, and what can be, so many times their distance further; a load
# is never less than so much of the middle one.
_USUAL, _ROOM, _LEAST_LOAD = (0.05, 0.5, 0.95), 1.5, 0.25

# Names of day-ahead columns, each with the number of hours it is known for from the last known hour on.
Announced = tuple[tuple[str, int], ...]


def hour_number(moment: datetime) -> int:
    """Whole hours since 1970 at `moment` (UTC), rounded down."""
    return (require_utc(moment, what="time") - _EPOCH) // HOUR


def hour_start(number: int) -> datetime:
    """The instant hour `number` starts."""
    return _EPOCH + number * HOUR


@dataclass(frozen=True)
class Hours:
    """Hourly values from hour `first` on; NaN where there is none.

    `g_per_kwh` holds one value per hour up to the last one known. `mix` holds generation by source, in any unit, for
    the same hours or fewer. `weather` columns are forecasts and may reach beyond the last known hour. `day_ahead` holds
    MW as announced the day before, by column `wind`, `solar`, `load`, as far ahead as it was announced.
    """

    first: int
    g_per_kwh: Floats
    mix: Mapping[str, Floats] = field(default_factory=dict)
    weather: Mapping[str, Floats] = field(default_factory=dict)
    day_ahead: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The hour after the last one known."""
        return self.first + len(self.g_per_kwh)

    def before(self, hour: int) -> Hours:
        """What was known when `hour` started: actual values of the hours that had ended; forecasts stay."""
        count = max(min(hour - self.first, len(self.g_per_kwh)), 0)
        return replace(
            self, g_per_kwh=self.g_per_kwh[:count], mix={name: values[:count] for name, values in self.mix.items()}
        )

    def trimmed(self) -> Hours:
        """Without hours at the start and the end that have no intensity. Raises Refused where none has any."""
        there = np.flatnonzero(np.isfinite(self.g_per_kwh))
        if not len(there):
            raise Refused("no hour with a value before the time asked for; give some days of history")
        lead = int(there[0])
        return Hours(
            first=self.first + lead,
            g_per_kwh=self.g_per_kwh[lead : int(there[-1]) + 1],
            mix={name: values[lead : int(there[-1]) + 1] for name, values in self.mix.items()},
            weather={name: values[lead:] for name, values in self.weather.items()},
            day_ahead={name: values[lead:] for name, values in self.day_ahead.items()},
        )

    def has_weather(self, until: int) -> bool:
        """Whether every weather column has a value for nearly all of the past, the last hour and each up to `until`."""
        past = len(self.g_per_kwh)
        ahead = slice(max(past - 1, 0), until - self.first)
        return bool(self.weather) and all(
            len(values) >= until - self.first
            and bool(np.isfinite(values[ahead]).all())
            and bool(np.isfinite(values[:past]).mean() >= _LEAST_KNOWN)
            for values in self.weather.values()
        )

    def announced(self, *, most: int) -> Announced:
        """The day-ahead columns to go by, and for how many hours from `end` on each is known, at most `most`.

        One counts that has a value for the next hour and for nearly all of the last months. Values that cannot be, by
        its past, are none.
        """
        past = len(self.g_per_kwh)
        reach = {}
        for name, given in self.day_ahead.items():
            values = believed(given, believable(name, given[:past]))
            lately = values[max(past - _LATELY_H, 0) : past]
            unknown = np.flatnonzero(~np.isfinite(values[past : past + most]))
            hours = int(unknown[0]) if len(unknown) else len(values[past : past + most])
            if hours and len(lately) >= LEAST_ANNOUNCED_H and np.isfinite(lately).mean() >= _LEAST_KNOWN:
                reach[name] = hours
        return tuple(sorted(reach.items()))


def believable(name: str, past: Floats) -> tuple[float, float]:
    """The least and most MW that a day-ahead column `name` can announce, by its `past`; NaN where there is too little.

    Wide enough for any storm and for parks that grow, narrow enough that a load of nothing or a thousandfold, which who
    learned from real ones would follow with great certainty, is none; also where a twentieth of the past is such.
    """
    known = past[np.isfinite(past)]
    if len(known) < LEAST_ANNOUNCED_H:
        return np.nan, np.nan
    low, middle, high = np.quantile(known, _USUAL)
    room = _ROOM * (high - low)
    return float(max(low - room, _LEAST_LOAD * middle) if name == "load" else low - room), float(high + room)


def believed(values: Floats, bounds: tuple[float, float]) -> Floats:
    """`values` with NaN in place of those outside `bounds`; of all where these are not known."""
    low, high = bounds
    return np.where((values >= low) & (values <= high), values, np.nan)


def hours_of(series: IntensitySeries) -> Hours:
    """The series as whole-hour means by time; an hour that is not wholly covered has no value.

    Five-minute and quarter-hour slots are averaged, longer ones repeated.
    """
    first = hour_number(series.start)
    count = -(-(series.end - hour_start(first)) // HOUR)
    sums, covered = np.zeros(count), np.zeros(count)
    for slot in series.slots:
        for hour in range(hour_number(slot.start) - first, -(-(slot.end - hour_start(first)) // HOUR)):
            begin, end = hour_start(first + hour), hour_start(first + hour + 1)
            share = (min(slot.end, end) - max(slot.start, begin)) / HOUR
            sums[hour] += slot.g_per_kwh * share
            covered[hour] += share
    whole = covered > 1 - 1e-9
    return Hours(first=first, g_per_kwh=np.where(whole, sums / np.where(whole, covered, 1.0), np.nan))


def by_hour(slots: Iterable[MixSlot]) -> Columns:
    """Mean generation by fuel and hour since 1970, of the hours that are wholly covered."""
    sums: dict[str, dict[int, float]] = {}
    covered: defaultdict[int, float] = defaultdict(float)
    for slot in slots:
        hour, share = hour_number(slot.start), (slot.end - slot.start) / HOUR
        covered[hour] += share
        for fuel, mw in slot.mw.items():
            of_fuel = sums.setdefault(fuel, {})
            of_fuel[hour] = of_fuel.get(hour, 0.0) + mw * share
    return {
        fuel: {hour: value for hour, value in values.items() if abs(covered[hour] - 1) < 1e-9}
        for fuel, values in sums.items()
    }
