"""The National Energy System Operator's Carbon Intensity API: Great Britain, half-hourly, operational scope, no key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx

from kilowait_forecasters.errors import Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

from . import payload
from .base import ended, none_realised, require_now, require_served, require_span
from .http import Http, Patience
from .quota import Quota

BASE_URL = "https://api.carbonintensity.org.uk"

_HALF_HOUR = timedelta(minutes=30)
# A time on the half-hour also brings the slot that ends there; one minute later it does not.
_INSIDE = timedelta(minutes=1)
# The service refuses more than 14 days in one question; our span is widened to half-hours, hence one day of room.
_LONGEST_RANGE = timedelta(days=13)
# Realised values appear about half an hour after the slot and are revised for at least a day: until then provisional.
_REVISED_FOR = timedelta(hours=24)


class Neso:
    """National intensity of Great Britain: 48 h of forecast, and what came.

    Operational gCO2/kWh: stack emissions of generation with imports and losses, as the operator defines them; to be
    compared with no other scope.
    """

    name = "neso"
    signal = AVERAGE_OPERATIONAL

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str = BASE_URL,
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._http = Http(client, base_url, name=self.name, setting="the URL of neso", quota=quota, patience=patience)

    def zones(self) -> frozenset[str] | None:
        """Great Britain alone."""
        return frozenset({"GB"})

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """Their forecast as it stands at `now`: no issue time is given and it is rewritten every half-hour.

        Publication sometimes stops before 48 h; the forecast then ends there.
        """
        require_span(now, until)
        require_served(self, zone)
        first = _half_hour_of(now)
        body = await self._http.get(f"intensity/{_stamp(first + _INSIDE)}/fw48h", about=f"zone {zone}")
        slots = [slot for slot in self._slots(body, "forecast", now=now) if slot.end > first]
        series = self._series(zone, slots)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=now,
                available_at=now,
                series=series,
                parts=(Part(series.start, self.name),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Realised half-hours; `estimated` for a day, while they are revised. Not yet realised ones are gaps."""
        require_span(start, end)
        require_served(self, zone)
        slots: list[Slot] = []
        at, last = _half_hour_of(start), min(end, now)
        while at < last:
            upto = min(at + _LONGEST_RANGE, last)
            body = await self._http.get(f"intensity/{_stamp(at + _INSIDE)}/{_stamp(upto)}", about=f"zone {zone}")
            slots += self._slots(body, "actual", now=now)
            at = _half_hour_of(upto) if upto < last else last
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    def _slots(self, body: object, field: Literal["forecast", "actual"], *, now: datetime) -> Iterator[Slot]:
        rows: list[Any] = payload.first_list(body, "data", who=self.name)
        for item in rows:
            row = payload.mapping(item, who=self.name)
            value = payload.number(payload.mapping(row.get("intensity"), who=self.name).get(field), who=self.name)
            start = payload.moment(row.get("from"), who=self.name)
            end = payload.moment(row.get("to"), who=self.name)
            if start >= end:
                raise Transient(f"{self.name}: a row runs from {start.isoformat()} to {end.isoformat()}")
            if value is not None:
                provisional = field == "actual" and end > now - _REVISED_FOR
                yield Slot(start, end, value, estimated=provisional)

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return payload.series_of(slots, zone=zone, signal=self.signal, source=self.name)


def _half_hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 30 * 30, second=0, microsecond=0)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%MZ")
