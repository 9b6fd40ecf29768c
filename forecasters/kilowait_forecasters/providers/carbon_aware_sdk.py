"""The Green Software Foundation's Carbon Aware SDK (WebAPI) that you host: whatever source it was set up with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Generic

import httpx

from kilowait_forecasters.cloud import cloud_regions, nearest
from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import K, Kind, Signal
from kilowait_forecasters.zone import Zone

from . import payload
from .base import HOUR, ended, none_realised, require_now, require_span
from .http import Http, Patience
from .quota import Quota

_SKEW = timedelta(minutes=5)
_STEPS = tuple(timedelta(minutes=minutes) for minutes in (5, 15, 30, 60))
_DURATION = re.compile(r"(\d{1,2}):(\d\d):(\d\d)(?:\.\d+)?")


class CarbonAwareSdk(Generic[K]):
    """Forecasts and history in gCO2/kWh by location, as the host's source gives them.

    The service does not say what its numbers mean: `signal` is what its source gives (Electricity Maps: average,
    lifecycle; WattTime: marginal, direct). A zone is the location of that name, else the first location (by name) whose
    coordinates lie in it.
    """

    name = "carbon-aware-sdk"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str,
        signal: Signal[K],
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.signal = signal
        self._http = Http(
            client,
            base_url,
            name=self.name,
            setting="the URL of carbon-aware-sdk",
            quota=quota,
            patience=patience,
        )
        self._locations: dict[str, str] | None = None

    def zones(self) -> frozenset[str] | None:
        """None: the host's configuration decides, and asking tells."""
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast[K]:
        """Their newest forecast with its issue time. Raises Permanent where their source has none."""
        require_span(now, until)
        location = await self._location(zone)
        # Without a window of ours, values are the source's own and not means that overlap.
        body = await self._http.get("emissions/forecasts/current", {"location": location}, about=f"zone {zone}")
        who = self._who(zone)
        if not isinstance(body, list) or len(body) != 1:
            raise Transient(f"{who}: expected one forecast in a list, got {payload.shown(body)}")
        told = payload.mapping(body[0], who=who)
        self._require_no_margin(payload.first_list(told, "forecastData", who=who), who=who)
        slots = list(self._forecast_slots(told, who=who))
        series = payload.series_of(slots, zone=zone, signal=self.signal, source=self.name)
        issued_at = payload.moment(told.get("generatedAt"), who=who)
        if issued_at > now + _SKEW:
            raise Transient(f"{who}: stamped {issued_at.isoformat()}, after {now.isoformat()}; check the clocks")
        issued_at = min(issued_at, now)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=issued_at,
                available_at=issued_at,
                series=series,
                parts=(Part(series.start, self.name, self._grid(slots, told)),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries[K]:
        """What its source says has been; `estimated` all of it, for it does not say which is measured."""
        require_span(start, end)
        location = await self._location(zone)
        who, last = self._who(zone), min(end, now)
        if start >= last:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        query = {"location": location, "time": _stamp(start - HOUR), "toTime": _stamp(last)}
        body = await self._http.get("emissions/bylocation", query, about=f"zone {zone}")
        if not isinstance(body, list):
            raise Transient(f"{who}: expected a list, got {payload.shown(body)}")
        self._require_no_margin(body, who=who)
        past = ended(self._past_slots(body, who=who), start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return payload.series_of(past, zone=zone, signal=self.signal, source=self.name)

    def _require_no_margin(self, rows: list[Any], *, who: str) -> None:
        """Raise Permanent where averages are wanted and the grids in the answer are WattTime's: its are margins."""
        if self.signal.kind is not Kind.AVERAGE:
            return
        named = {str(row.get("location")) for row in rows if isinstance(row, Mapping)}
        if found := sorted(named & _margins()):
            raise Permanent(
                f"{who}: answers for {payload.shown(', '.join(found))}, a region of WattTime, which gives margins; "
                "set the host up with another source, or leave the provider out"
            )

    async def _location(self, zone: Zone) -> str:
        if self._locations is None:
            self._locations = self._by_zone(await self._http.get("locations"))
        location = self._locations.get(zone.id)
        if location is None:
            have = ", ".join(sorted(self._locations)) or "none"
            raise Permanent(f"{self.name}: no location in zone {zone}; its host has locations for {have}")
        return location

    def _by_zone(self, body: object) -> dict[str, str]:
        """A location for each zone that has one, and each under its own name."""
        listed = payload.mapping(body, who=f"{self.name} locations")
        found = {name: name for name in listed}
        for name in sorted(listed):
            place = payload.mapping(listed[name], who=f"{self.name} location {name}")
            latitude, longitude = (_coordinate(place, key) for key in ("latitude", "longitude"))
            if latitude is None or longitude is None:
                continue
            try:
                region, _ = nearest(latitude, longitude)
            except Refused:
                continue  # too far from any region whose zone is known; it can be asked for by name
            found.setdefault(region.zone.id, name)
        return found

    def _forecast_slots(self, told: Mapping[str, Any], *, who: str) -> Iterator[Slot]:
        for item in payload.first_list(told, "forecastData", who=who):
            row = payload.mapping(item, who=who)
            start = payload.moment(row.get("timestamp"), who=who)
            minutes = payload.number(row.get("duration"), who=who)
            value = payload.number(row.get("value"), who=who)
            if minutes is None or not 0 < minutes <= 24 * 60:
                raise Transient(f"{who}: a value lasts {payload.shown(minutes)} minutes")
            if value is not None:
                yield Slot(start, start + timedelta(minutes=minutes), value)

    def _past_slots(self, rows: list[Any], *, who: str) -> list[Slot]:
        read = []
        for item in rows:
            row = payload.mapping(item, who=who)
            start = payload.moment(row.get("time"), who=who)
            value = payload.number(row.get("rating"), who=who)
            if value is not None:
                read.append((start, _duration(row.get("duration"), who=who), value))
        starts = sorted({start for start, _, _ in read})
        usual = Counter(after - before for before, after in pairwise(starts)).most_common(1)
        found = []
        for start, length, value in read:
            # With WattTime behind it, some versions say that values last no time at all.
            length = length or (usual[0][0] if usual else timedelta())
            if length not in _STEPS:
                raise Transient(f"{who}: a value lasts {length}; expected 5, 15, 30 or 60 minutes")
            found.append(Slot(start, start + length, value, estimated=True))
        return found

    def _grid(self, slots: list[Slot], told: Mapping[str, Any]) -> str:
        """Which grid the host's source took the location for."""
        rows = told.get("forecastData")
        named = {str(row.get("location")) for row in rows if isinstance(row, Mapping)} if isinstance(rows, list) else ()
        return f"of grid {payload.shown(', '.join(sorted(named)))}" if named and slots else ""

    def _who(self, zone: Zone) -> str:
        return f"{self.name} for zone {zone}"


@cache
def _margins() -> frozenset[str]:
    """WattTime's names of its regions, without those of two letters: countries are called so by all."""
    named = (region.watttime_region for region in cloud_regions())
    return frozenset(name for name in named if name is not None and len(name) > 2)


def _coordinate(place: Mapping[str, Any], name: str) -> float | None:
    value = place.get(name.capitalize(), place.get(name))
    return payload.number(value, who="carbon-aware-sdk locations")


def _duration(text: object, *, who: str) -> timedelta:
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Transient(f"{who}: expected a duration as 00:05:00, got {payload.shown(repr(text))}")
    hours, minutes, seconds = (int(part) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
