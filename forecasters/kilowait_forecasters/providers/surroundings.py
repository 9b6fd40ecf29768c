"""What is known around a zone's intensity, live: generation by source so far, what is announced, weather to come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.mix import LONGEST_ABSENCE, MixSlot
from kilowait_forecasters.models.hours import HOUR, Columns, Floats, Hours, by_hour, hour_number, hour_start
from kilowait_forecasters.zone import Zone

from .open_meteo import Place

# Values are corrected for a day or two; so much of the past is asked for again each time.
_REVISED_FOR = timedelta(days=2)
# The past that models learn from, at the most: a year has every season, and they can tell one from a trend once they
# have seen it begin anew.
REMEMBERED = timedelta(days=430)
_REMEMBERED_H = REMEMBERED // HOUR + 24
_ASKED_AGAIN_H = 24
# So much of the past is asked for at a time.
_PIECE_H = 120 * 24

# Asks a source for [start, end).
_Ask = Callable[[datetime, datetime], Awaitable[Columns]]


class MixSource(Protocol):
    """A source of generation by fuel."""

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]: ...


class DayAheadSource(Protocol):
    """A source of wind, solar and load in MW, as they were and are announced a day ahead."""

    async def day_ahead(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> Columns: ...


class WeatherSource(Protocol):
    """A source of weather, as it was forecast and as it is forecast."""

    async def weather(self, places: Sequence[Place], *, start: datetime, end: datetime, now: datetime) -> Columns: ...


@dataclass
class _Kept:
    """What has been answered for one zone; from hour `since` on all has been asked for, None where nothing has."""

    columns: Columns = field(default_factory=dict)
    since: int | None = None
    begun_at: int | None = None

    async def update(self, ask: _Ask, *, first: int, end: datetime, now: datetime) -> Columns:
        """All that is known, after asking for the last two days anew, to `end`, and for what is not, back to `first`.

        The past is asked for in pieces, the last one first, so that what has come stays though the next does not. Of
        an area that gives nothing, once a day. Where there is no answer, what was known stands.
        """
        hour = hour_number(now)
        oldest = hour - _REMEMBERED_H
        first = max(first, oldest)
        self.columns = _since(self.columns, oldest)
        empty = not any(self.columns.values())
        if self.since is None or (empty and (self.begun_at is None or hour >= self.begun_at + _ASKED_AGAIN_H)):
            self.since, self.begun_at = None, hour
            start = max(first, hour - _PIECE_H)
        else:
            self.since = max(self.since, oldest)
            # No further back than a column may be silent: one that stopped is not waited for.
            start = max(self._newest(hour) - _REVISED_FOR // HOUR, hour - LONGEST_ABSENCE // HOUR)
        had = {name for name, values in self.columns.items() if values}
        answered = await self._ask(ask, start, end)
        if answered and any(values and name not in had for name, values in self.columns.items()):
            self.since = start  # what was asked for before held nothing of it, perhaps for a fault of theirs
        while answered and self.since is not None and self.since > first:
            answered = await self._ask(ask, max(first, self.since - _PIECE_H), hour_start(self.since))
        return self.columns

    def _newest(self, hour: int) -> int:
        """The last hour that every column has of those given within two weeks; `hour` where it is later, or none is."""
        last = [max(values) for values in self.columns.values() if values]
        lately = [one for one in last if one >= max(last) - LONGEST_ABSENCE // HOUR]
        return min([hour, *lately])

    async def _ask(self, ask: _Ask, first: int, end: datetime) -> bool:
        """Whether it was answered."""
        with suppress(ForecastersError):
            for name, values in (await ask(hour_start(first), end)).items():
                self.columns.setdefault(name, {}).update(values)
            self.since = first if self.since is None else min(first, self.since)
            return True
        return False


class Surroundings:
    """What there is around the zones, kept and brought up to date.

    Generation by source of those in `mixes`; wind, solar and load as announced, of those in `day_ahead`; and weather at
    the `places` of a zone. Nothing here fails: what does not answer is left out, or used as last known, and asked again
    the next time.
    """

    def __init__(
        self,
        *,
        mixes: Mapping[str, MixSource] | None = None,
        day_ahead: Mapping[str, DayAheadSource] | None = None,
        weather: WeatherSource | None = None,
        places: Mapping[str, Sequence[Place]] | None = None,
    ) -> None:
        self._mixes = dict(mixes or {})
        self._day_ahead = dict(day_ahead or {})
        self._weather = weather
        self._places = dict(places or {})
        self._generated: defaultdict[str, _Kept] = defaultdict(_Kept)
        self._announced: defaultdict[str, _Kept] = defaultdict(_Kept)
        self._forecast: defaultdict[str, Columns] = defaultdict(dict)
        # From which hour on each zone's weather has been answered for, and up to which it is settled.
        self._weather_from: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        # Models of one zone ask at once; the second finds what the first was told.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def around(self, zone: Zone, hours: Hours, *, until: int, now: datetime) -> Hours:
        """`hours` with the mix of its past, and what is announced and the weather from its start to hour `until`.

        As far as there is any; NaN where there is none.
        """
        async with self._locks[zone.id]:
            mix = await self._mix(zone, hours, now=now)
            day_ahead = await self._announcements(zone, hours, until=until, now=now)
            weather = await self._weather_ahead(zone, hours, until=until, now=now)
        return replace(hours, mix=mix, weather=weather, day_ahead=day_ahead)

    async def _mix(self, zone: Zone, hours: Hours, *, now: datetime) -> Mapping[str, Floats]:
        if (source := self._mixes.get(zone.id)) is None:
            return {}

        async def ask(start: datetime, end: datetime) -> Columns:
            return await asyncio.to_thread(by_hour, await source.mix(zone, start=start, end=end, now=now))

        known = await self._generated[zone.id].update(ask, first=hours.first, end=now, now=now)
        return _arrays(known, first=hours.first, end=hours.end)

    async def _announcements(self, zone: Zone, hours: Hours, *, until: int, now: datetime) -> Mapping[str, Floats]:
        if (source := self._day_ahead.get(zone.id)) is None:
            return {}

        async def ask(start: datetime, end: datetime) -> Columns:
            return await source.day_ahead(zone, start=start, end=end, now=now)

        known = await self._announced[zone.id].update(ask, first=hours.first, end=hour_start(until), now=now)
        return _arrays(known, first=hours.first, end=until)

    async def _weather_ahead(self, zone: Zone, hours: Hours, *, until: int, now: datetime) -> Mapping[str, Floats]:
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
