"""Electricity Maps, API version 4: flow-traced average intensity, lifecycle or direct, of some 350 zones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import Kind, Scope, Signal
from kilowait_forecasters.zone import Zone

from . import payload
from .base import HOUR, Access, ended, hour_of, none_realised, require_now, require_span
from .http import Http, Patience
from .quota import Quota

BASE_URL = "https://api.electricitymaps.com/v4"

# The only horizons the service answers; it sends one row more than asked, the first being the current hour.
_HORIZONS_H = (6, 24, 48, 72)
# `history` always holds the last 24 hours; it is open to more plans than `past-range`.
_RECENT = timedelta(hours=23)
# `past-range` refuses more than ten days of hours in one question.
_LONGEST_RANGE = timedelta(days=10)
# Their clock may run ahead of ours by this much; a later stamp is not taken for clock skew.
_SKEW = timedelta(minutes=5)
_SLOT_LENGTHS = {"hourly": HOUR, "15_minutes": timedelta(minutes=15), "5_minutes": timedelta(minutes=5)}


class ElectricityMaps:
    """Forecasts up to 72 h ahead and realised values, hourly.

    `token` is the value of the `auth-token` header, `setting` the name under which the operator configured it. Zones
    are not listed: which are included depends on the plan, and only asking tells.
    """

    name = "electricity-maps"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        token: str,
        scope: Scope = Scope.LIFECYCLE,
        base_url: str = BASE_URL,
        setting: str = "the electricity-maps token",
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not token.strip():
            raise Permanent(f"{self.name}: {setting} is empty; set it or leave the provider out")
        if scope is Scope.OPERATIONAL:
            raise Refused(f"{self.name}: scope is lifecycle or direct, not {scope}")
        self.signal: Signal = Signal(Kind.AVERAGE, scope)
        self._http = Http(
            client,
            base_url,
            name=self.name,
            setting=setting,
            headers={"auth-token": token.strip()},
            passing=("no recent data",),
            quota=quota,
            patience=patience,
        )

    def zones(self) -> frozenset[str] | None:
        """None: the plan decides, and asking tells."""
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """Their forecast with their issue time; hours they give as null are gaps."""
        require_span(now, until)
        wanted_h = (until - hour_of(now)) / HOUR
        horizon_h = next((hours for hours in _HORIZONS_H if hours >= wanted_h), _HORIZONS_H[-1])
        body = await self._ask("forecast", zone, {"horizonHours": str(horizon_h)})
        series = self._series(zone, list(self._slots(body, zone, realised=False)))
        issued_at, note = self._issue_time(body, zone, series=series, now=now)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=issued_at,
                available_at=issued_at,
                series=series,
                parts=(Part(series.start, self.name, note),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Realised hours; `estimated` unless they say a value is measured. They revise for days."""
        require_span(start, end)
        slots: list[Slot] = []
        if start >= now:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        if start >= hour_of(now) - _RECENT:
            slots += self._slots(await self._ask("history", zone, {}), zone, realised=True)
        else:
            at, last = hour_of(start), min(end, now)
            while at < last:
                upto = min(at + _LONGEST_RANGE, last)
                span = {"start": _stamp(at), "end": _stamp(upto)}
                slots += self._slots(await self._ask("past-range", zone, span), zone, realised=True)
                at = upto
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    async def access(self) -> list[Access]:
        """What this token may ask for, zone by zone. Raises Transient where the service does not say.

        With a wrong token, and sometimes with a right one, it lists zones without what they include, or nothing.
        """
        body = payload.mapping(await self._http.get("zones", about="this token"), who=self.name)
        if isinstance(body.get("error"), str):
            raise Transient(f"{self.name} zones: {payload.shown(body['error'], longest=200)}")
        found = []
        for zone_id, item in body.items():
            granted = payload.mapping(item, who=f"{self.name} zone {payload.shown(zone_id)}").get("access")
            if not isinstance(granted, list):
                continue
            found.append(
                Access(
                    zone=zone_id,
                    signal=self.signal,
                    forecast=_grants(granted, "forecast"),
                    history=_grants(granted, "history") or _grants(granted, "past-range"),
                )
            )
        if not found:
            raise Transient(f"{self.name} zones: does not say what this token may ask for; only asking tells")
        return found

    async def _ask(self, what: str, zone: Zone, params: Mapping[str, str]) -> Mapping[str, Any]:
        """The answer about `zone`, checked to be about that zone: without a zone they take the caller's own."""
        query = {
            "zone": zone.id,
            "emissionFactorType": str(self.signal.scope),
            "temporalGranularity": "hourly",
            "disableCallerLookup": "true",
            **params,
        }
        body = await self._http.get(f"carbon-intensity/{what}", query, about=f"zone {zone}")
        who = self._who(zone)
        if isinstance(body, Mapping) and (sentence := body.get("error")):
            raise Transient(f"{who}: {payload.shown(sentence, longest=200)}")
        answered = payload.mapping(body, who=who).get("zone")
        if answered != zone.id:
            raise Permanent(f"{who}: answered for zone {payload.shown(answered)}; check the zone's id")
        return payload.mapping(body, who=who)

    def _slots(self, body: Mapping[str, Any], zone: Zone, *, realised: bool) -> Iterator[Slot]:
        who = self._who(zone)
        granularity = body.get("temporalGranularity", "hourly")
        length = _SLOT_LENGTHS.get(granularity) if isinstance(granularity, str) else None
        if length is None:
            raise Transient(f"{who}: unknown granularity {payload.shown(granularity)}")
        for item in payload.first_list(body, "data", "history", "forecast", who=who):
            row = payload.mapping(item, who=who)
            if row.get("zone", zone.id) != zone.id:
                raise Permanent(f"{who}: holds a row of zone {payload.shown(row['zone'])}; check the zone's id")
            if row.get("emissionFactorType") not in (None, self.signal.scope):
                raise Transient(f"{who}: gives {payload.shown(row['emissionFactorType'])}, not {self.signal.scope}")
            start = payload.moment(row.get("datetime"), who=who)
            value = payload.number(row.get("carbonIntensity"), who=who)
            if value is not None:
                # Only an explicit "not estimated" counts as measured.
                yield Slot(start, start + length, value, estimated=realised and row.get("isEstimated") is not False)

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return payload.series_of(slots, zone=zone, signal=self.signal, source=self.name)

    def _issue_time(
        self, body: Mapping[str, Any], zone: Zone, *, series: IntensitySeries, now: datetime
    ) -> tuple[datetime, str]:
        if body.get("updatedAt") is None:
            return min(series.start, now), "issue time not given; the start of its first hour stands for it"
        stamped = payload.moment(body["updatedAt"], who=self._who(zone))
        if stamped > now + _SKEW:
            raise Transient(
                f"{self._who(zone)}: stamped {stamped.isoformat()}, after {now.isoformat()}; check the clocks"
            )
        return min(stamped, now), ""

    def _who(self, zone: Zone) -> str:
        return f"{self.name} for zone {zone}"


def _grants(granted: list[Any], temporality: str) -> bool:
    return "*" in granted or f"carbon-intensity/{temporality}" in granted


def _stamp(moment: datetime) -> str:
    """The one spelling their strict parser is known to take."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
