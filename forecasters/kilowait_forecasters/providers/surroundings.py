"""What is known around a zone's intensity, live: generation by source so far, and the weather to come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.mix import MixSlot
from kilowait_forecasters.models.hours import HOUR, Columns, Floats, Hours, hour_number, hour_start
from kilowait_forecasters.zone import Zone

from .open_meteo import Place

# Values are corrected for a day or two; so much of the past is asked for again each time.
_REVISED_FOR = timedelta(days=2)
# The past that models learn from, at the most: a year has every season, and they can tell one from a trend once they
# have seen it begin anew.
REMEMBERED = timedelta(days=430)
_REMEMBERED_H = REMEMBERED // HOUR + 24


class MixSource(Protocol):
    """A source of generation by fuel."""

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]: ...


class WeatherSource(Protocol):
    """A source of weather, as it was forecast and as it is forecast."""

    async def weather(self, places: Sequence[Place], *, start: datetime, end: datetime, now: datetime) -> Columns: ...


class Surroundings:
    """Generation by source of the zones in `mixes`, and weather at the `places` of a zone; kept and brought up to date.

    Nothing here fails: what does not answer is left out, or used as last known, and asked again the next time.
    """

    def __init__(
        self,
        *,
        mixes: Mapping[str, MixSource] | None = None,
        weather: WeatherSource | None = None,
        places: Mapping[str, Sequence[Place]] | None = None,
    ) -> None:
        self._mixes = dict(mixes or {})
        self._weather = weather
        self._places = dict(places or {})
        self._generated: defaultdict[str, Columns] = defaultdict(dict)
        self._forecast: defaultdict[str, Columns] = defaultdict(dict)
        # From which hour on each zone's mix and weather have been answered for, and up to which weather is settled.
        self._mix_from: dict[str, int] = {}
        self._weather_from: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        # Models of one zone ask at once; the second finds what the first was told.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def around(self, zone: Zone, hours: Hours, *, until: int, now: datetime) -> Hours:
        """`hours` with the mix of its past, and the weather from its start to hour `until`, as far as there is any."""
        async with self._locks[zone.id]:
            mix = await self._mix(zone, hours, now=now)
            weather = await self._ahead(zone, hours, until=until, now=now)
        return replace(hours, mix=mix, weather=weather)

    async def _mix(self, zone: Zone, hours: Hours, *, now: datetime) -> Mapping[str, Floats]:
        if zone.id not in self._mixes:
            return {}
        oldest = hour_number(now) - _REMEMBERED_H
        known = self._generated[zone.id] = _since(self._generated[zone.id], oldest)
        newest = max((max(values) for values in known.values() if values), default=None)
        first, covered = max(hours.first, oldest), max(self._mix_from.get(zone.id, 0), oldest)
        if newest is None:
            await self._ask_mix(zone, first=first, end=now, now=now)
        else:
            await self._ask_mix(zone, first=newest - _REVISED_FOR // HOUR, end=now, now=now)
            if first < covered:
                await self._ask_mix(zone, first=first, end=hour_start(covered), now=now)
        return _arrays(known, first=hours.first, end=hours.end)

    async def _ask_mix(self, zone: Zone, *, first: int, end: datetime, now: datetime) -> None:
        known = self._generated[zone.id]
        # Where it does not answer, what was known stays; where nothing is, the model does without.
        with suppress(ForecastersError):
            slots = await self._mixes[zone.id].mix(zone, start=hour_start(first), end=end, now=now)
            for fuel, values in (await asyncio.to_thread(by_hour, slots)).items():
                known.setdefault(fuel, {}).update(values)
            self._mix_from[zone.id] = min(first, self._mix_from.get(zone.id, first))

    async def _ahead(self, zone: Zone, hours: Hours, *, until: int, now: datetime) -> Mapping[str, Floats]:
        places = self._places.get(zone.id)
        if self._weather is None or not places:
            return {}
        oldest = hour_number(now) - _REMEMBERED_H
        known = _since(self._forecast[zone.id], oldest)
        first = max(hours.first, oldest)
        # Past days are kept as they were forecast; the last two, today and what is to come are asked for anew.
        start = self._settled.get(zone.id, first)
        covered = max(self._weather_from.get(zone.id, first), oldest)
        try:
            fresh = await self._weather.weather(places, start=hour_start(start), end=hour_start(until), now=now)
        except ForecastersError:
            return {}  # of old weather forecasts the horizon's end is missing, and the model wants all of it
        for column, values in fresh.items():
            known[column] = {hour: value for hour, value in known.get(column, {}).items() if hour < start} | values
        self._settled[zone.id] = hour_number(now) // 24 * 24 - _REVISED_FOR // HOUR
        if first < covered:
            with suppress(ForecastersError):
                before = await self._weather.weather(places, start=hour_start(first), end=hour_start(covered), now=now)
                for column, values in before.items():
                    known[column] = values | known.get(column, {})
                covered = first
        self._forecast[zone.id], self._weather_from[zone.id] = known, covered
        return _arrays(known, first=hours.first, end=until)


def _since(known: Columns, oldest: int) -> Columns:
    """What is known from hour `oldest` on; so that nothing grows for ever."""
    return {name: {hour: value for hour, value in values.items() if hour >= oldest} for name, values in known.items()}


def _arrays(known: Columns, *, first: int, end: int) -> dict[str, Floats]:
    """The columns on the hours from `first` to before `end`; NaN where there is no value."""
    return {name: np.array([values.get(hour, np.nan) for hour in range(first, end)]) for name, values in known.items()}


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
