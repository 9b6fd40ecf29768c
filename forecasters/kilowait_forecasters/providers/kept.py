"""Answers kept until a new one can exist, so that a quota goes as far as it can."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic

from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.signal import K, Signal
from kilowait_forecasters.zone import Zone

from .base import Provider, require_span


@dataclass(frozen=True)
class _Kept(Generic[K]):
    """A forecast that was asked for at `at`, up to `until`, and need not be asked for again before `renewed_at`."""

    forecast: Forecast[K]
    at: datetime
    until: datetime
    renewed_at: datetime


class Kept(Generic[K]):
    """`provider`, which issues forecasts every `every`, asked once per issue and zone.

    Each is asked for as far ahead as will be wanted until the next one. Zones are spread over a tenth of `every`, so
    that they do not all ask at once, nor all servers in the world at the full hour. History is passed through.
    """

    def __init__(self, provider: Provider[K], *, every: timedelta) -> None:
        self._provider = provider
        self._every = every
        self._kept: dict[Zone, _Kept[K]] = {}

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def signal(self) -> Signal[K]:
        return self._provider.signal

    def zones(self) -> frozenset[str] | None:
        """Those of the provider."""
        return self._provider.zones()

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast[K]:
        """The forecast in hand where none newer can exist and it reaches from `now` to `until`; else a new answer."""
        require_span(now, until)
        kept = self._kept.get(zone)
        if kept is not None and kept.at <= now < kept.renewed_at and until <= kept.until and _holds(kept.forecast, now):
            return kept.forecast
        reach = until + self._every
        fresh = await self._provider.forecast(zone, now=now, until=reach)
        self._kept[zone] = _Kept(fresh, now, reach, self._renewed(fresh, zone, now=now))
        return fresh

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries[K]:
        """What the provider says has been."""
        return await self._provider.history(zone, start=start, end=end, now=now)

    def _renewed(self, forecast: Forecast[K], zone: Zone, *, now: datetime) -> datetime:
        """When the next issue is due; one that is late already is looked for four times as often."""
        due = forecast.issued_at + self._every
        share = zlib.crc32(f"{self.name} {zone}".encode()) / 2**32
        return (due if due > now else now + self._every / 4) + self._every * share / 10


def _holds(forecast: Forecast[K], now: datetime) -> bool:
    return forecast.series.covers(now, now + timedelta(microseconds=1))
