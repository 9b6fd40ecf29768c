"""Energy-Charts of Fraunhofer ISE: intensity, generation and what is announced, by country; no key; CC BY 4.0."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal

import httpx

from kilowait_forecasters.errors import Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.mix import MixSlot, Seen, by_fuel
from kilowait_forecasters.models.hours import by_hour
from kilowait_forecasters.signal import AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

from . import payload
from .announcing import Announcing, Parts
from .base import ended, hour_of, none_realised, require_now, require_served, require_span
from .http import Http, Patience
from .quota import Quota

BASE_URL = "https://api.energy-charts.info"

# Their code is the country's in lower case; only Great Britain's differs.
_CODES = "at be bg ch cz de dk ee es fi fr gr hr hu it lu lv nl no pl pt ro se si sk"
COUNTRIES = {code.upper(): code for code in _CODES.split(" ")}
COUNTRIES["GB"] = "uk"
# No limit is published; a month of quarter-hours is a small answer.
_LONGEST_RANGE = timedelta(days=30)
# Generation is corrected as late reports come in; until then values are provisional.
_REVISED_FOR = timedelta(hours=24)
# Names of production types; the others they list (load, shares, balances) are no generation.
_FUELS = {
    "Biomass": "biomass",
    "Waste": "biomass",
    "Fossil brown coal / lignite": "coal",
    "Fossil hard coal": "coal",
    "Fossil coal-derived gas": "gas",
    "Fossil gas": "gas",
    "Fossil oil": "oil",
    "Fossil oil shale": "coal",
    "Fossil peat": "coal",
    "Geothermal": "geothermal",
    "Hydro Run-of-River": "hydro",
    "Hydro water reservoir": "hydro",
    "Nuclear": "nuclear",
    "Solar": "solar",
    "Wind offshore": "wind",
    "Wind onshore": "wind",
    "Others": "unknown",
    "Other renewables": "unknown",
}
# Their production types of what is announced, by our columns.
_ANNOUNCED = {"wind": ("wind_onshore", "wind_offshore"), "solar": ("solar",), "load": ("load",)}
# One of those is a small answer: asked for half a year at once.
_LONGEST_RANGE_OF_ONE = timedelta(days=180)
# What they answer, with status 404, where there is nothing: of Austria's wind at sea, of tomorrow before evening.
_NO_CONTENT = "no content available"
_STEPS = (timedelta(minutes=15), timedelta(minutes=30), timedelta(hours=1))


class EnergyCharts(Announcing):
    """What came, and a forecast to the end of the current or the next day, which is published in the evening.

    gCO2eq/kWh of generation as Energy-Charts computes it: a scope of its own, to be compared with no other.
    """

    name = "energy-charts"
    signal = AVERAGE_OPERATIONAL

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str = BASE_URL,
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__()
        self._seen = Seen()
        quota = quota or Quota()
        self._http, self._http_ahead = (
            Http(
                client,
                base_url,
                name=self.name,
                setting="the URL of energy-charts",
                passing=(_NO_CONTENT,),
                answers=answers,
                quota=quota,
                patience=patience,
            )
            # That nothing is announced is an answer.
            for answers in (frozenset({200}), frozenset({200, 404}))
        )

    def zones(self) -> frozenset[str] | None:
        """The countries it is known to publish."""
        return frozenset(COUNTRIES)

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """Their forecast as it stands at `now`: no issue time is given. Where a value has come already, that one."""
        require_span(now, until)
        require_served(self, zone)
        body = await self._ask(zone, start=hour_of(now), end=until)
        slots = [slot for slot in self._slots(body, zone, prefer="forecast", now=now) if slot.end > now]
        series = self._series(zone, slots)
        note = "the service calls this answer deprecated" if body.get("deprecated") is True else ""
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=now,
                available_at=now,
                series=series,
                parts=(Part(series.start, self.name, note),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """What came; `estimated` for a day, while it is corrected. What has not come yet is a gap, never a forecast."""
        require_span(start, end)
        require_served(self, zone)
        slots: list[Slot] = []
        at, last = hour_of(start), min(end, now)
        while at < last:
            upto = min(at + _LONGEST_RANGE, last)
            slots += self._slots(await self._ask(zone, start=at, end=upto), zone, prefer="actual", now=now)
            at = upto
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]:
        """Generation by fuel on whole slots that overlap [start, end) and had ended by `now`, in order; may be none."""
        require_span(start, end)
        require_served(self, zone)
        generated: dict[datetime, MixSlot] = {}
        at, last = self._seen.asked_from(zone.id, hour_of(start)), min(end, now)
        while start < last and at < last:
            upto = min(at + _LONGEST_RANGE, last)
            query = {"country": COUNTRIES[zone.id], "start": _stamp(at), "end": _stamp(upto)}
            body = await self._http.get("public_power", query, about=f"zone {zone}")
            generated |= await asyncio.to_thread(self._generated, body, who=self._who(zone))
            at = upto
        ordered = [generated[at] for at in sorted(generated)]
        slots = await asyncio.to_thread(lambda: by_fuel(self._seen.whole(zone.id, ordered), _FUELS))
        return [slot for slot in slots if slot.start < end and slot.end > start and slot.end <= now]

    async def _announced(self, zone: Zone, *, start: datetime, end: datetime) -> Parts:
        return {
            column: {kind: await self._announced_of(kind, zone, start=start, end=end) for kind in kinds}
            for column, kinds in _ANNOUNCED.items()
        }

    async def _announced_of(self, kind: str, zone: Zone, *, start: datetime, end: datetime) -> dict[int, float]:
        """MW of one production type by whole hour."""
        who = self._who(zone)
        slots: dict[datetime, MixSlot] = {}
        at = start
        while at < end:
            upto = min(at + _LONGEST_RANGE_OF_ONE, end)
            query = {"country": COUNTRIES[zone.id], "production_type": kind, "forecast_type": "day-ahead"}
            query |= {"start": _stamp(at), "end": _stamp(upto)}
            body = payload.mapping(
                await self._http_ahead.get("public_power_forecast", query, about=f"zone {zone}"), who=who
            )
            if not str(body.get("detail", "")).lower().startswith(_NO_CONTENT):
                slots |= self._announced_slots(body, kind, who=who)
            at = upto
        return by_hour(slots.values()).get(kind, {})

    def _announced_slots(self, body: Mapping[str, Any], kind: str, *, who: str) -> dict[datetime, MixSlot]:
        if (told := body.get("production_type", kind)) != kind:
            raise Transient(f"{who}: asked for {kind}, got {payload.shown(told)}")
        stamps = [payload.unix_moment(value, who=who) for value in payload.first_list(body, "unix_seconds", who=who)]
        values = dict(zip(stamps, self._column(body, "forecast_values", count=len(stamps), who=who), strict=True))
        ordered = sorted(values)
        ends = zip(ordered, _ends(ordered, who=who), strict=True)
        return {at: MixSlot(at, until, {kind: mw}) for at, until in ends if (mw := values[at]) is not None}

    def _generated(self, body: Any, *, who: str) -> dict[datetime, MixSlot]:
        """Generation by production type on each slot; types that are no generation are left out."""
        stamps = [payload.unix_moment(value, who=who) for value in payload.first_list(body, "unix_seconds", who=who)]
        columns: dict[str, list[float | None]] = {}
        for item in payload.first_list(body, "production_types", who=who):
            named = payload.mapping(item, who=who)
            if named.get("name") in _FUELS:
                columns[named["name"]] = self._column(named, "data", count=len(stamps), who=who)
        ordered = sorted(set(stamps))
        ends = dict(zip(ordered, _ends(ordered, who=who), strict=True))
        found = {}
        for index, start in enumerate(stamps):
            mw = {name: value for name, values in columns.items() if (value := values[index]) is not None}
            found[start] = MixSlot(start, ends[start], mw)
        return found

    async def _ask(self, zone: Zone, *, start: datetime, end: datetime) -> Any:
        query = {"country": COUNTRIES[zone.id], "start": _stamp(start), "end": _stamp(end)}
        body = await self._http.get("co2eq", query, about=f"zone {zone}")
        return payload.mapping(body, who=self._who(zone))

    def _slots(self, body: Any, zone: Zone, *, prefer: Literal["actual", "forecast"], now: datetime) -> Iterator[Slot]:
        who = self._who(zone)
        stamps = [payload.unix_moment(value, who=who) for value in payload.first_list(body, "unix_seconds", who=who)]
        came, ahead = (self._column(body, name, count=len(stamps), who=who) for name in ("co2eq", "co2eq_forecast"))
        ordered = sorted(set(stamps))
        ends = dict(zip(ordered, _ends(ordered, who=who), strict=True))
        for start, actual, forecast in zip(stamps, came, ahead, strict=True):
            value = forecast if actual is None and prefer == "forecast" else actual
            if value is not None:
                provisional = prefer == "actual" and ends[start] > now - _REVISED_FOR
                yield Slot(start, ends[start], value, estimated=provisional)

    def _column(self, body: Any, name: str, *, count: int, who: str) -> list[float | None]:
        """The values of one array beside the stamps; an array that is null or absent holds nothing."""
        if body.get(name) is None:
            return [None] * count
        values = [payload.number(value, who=who) for value in payload.first_list(body, name, who=who)]
        if len(values) != count:
            raise Transient(f"{who}: {len(values)} values under {name} for {count} times; none of its answer is used")
        return values

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return payload.series_of(slots, zone=zone, signal=self.signal, source=self.name)

    def _who(self, zone: Zone) -> str:
        return f"{self.name} for zone {zone}"


def _ends(starts: list[datetime], *, who: str) -> list[datetime]:
    """When each slot ends: one step on, the step being the most common distance, and never beyond the next slot."""
    steps = Counter(after - before for before, after in pairwise(starts))
    step = steps.most_common(1)[0][0] if steps else _STEPS[-1]
    if step not in _STEPS:
        raise Transient(f"{who}: its values are {step} apart; expected 15, 30 or 60 minutes")
    return [
        min(start + step, after)
        for start, after in zip(starts, [*starts[1:], datetime.max.replace(tzinfo=UTC)], strict=True)
    ]


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")
