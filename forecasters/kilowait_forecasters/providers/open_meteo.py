"""Open-Meteo: hourly weather forecasts anywhere, and what was forecast in the past; no key, CC BY 4.0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx

from kilowait_forecasters.errors import Refused, Transient
from kilowait_forecasters.models.hours import Columns, hour_number

from . import payload
from .base import require_span
from .http import Http, Patience
from .quota import Limit, Quota

BASE_URL = "https://api.open-meteo.com/v1"
PAST_URL = "https://previous-runs-api.open-meteo.com/v1"
# Per address: 600 a minute, 5,000 an hour, 10,000 a day; a long answer counts as several, hence half of that.
LIMITS = (Limit(300, 60.0), Limit(2500, 3600.0), Limit(5000, 86_400.0))

# Our column, their variable, its unit, and how many hours before its stamp it begins: radiation is the mean of the
# hour before, wind and temperature are of the instant.
_COLUMNS = (
    ("wf_wind_speed", "wind_speed_100m", "m/s", 0),
    ("wf_dswrf", "shortwave_radiation", "W/m²", 1),
    ("wf_temperature", "temperature_2m", "°C", 0),
)
# What was forecast a day before: as far off as what a forecast of tomorrow is made of.
_AS_FORECAST = "_previous_day1"
_LONGEST_RANGE = timedelta(days=120)
_FARTHEST = timedelta(days=15)

Place = tuple[float, float]


class OpenMeteo:
    """Wind at 100 m (m/s), radiation (W/m²) and temperature (°C), each the mean over some places (latitude, longitude).

    Past days are as they were forecast a day before; today and what is to come, as it is forecast now.
    """

    name = "open-meteo"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        base_url: str = BASE_URL,
        past_url: str = PAST_URL,
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        quota = quota or Quota(*LIMITS)
        self._ahead, self._past = (
            Http(client, url, name=self.name, setting=f"the URL of {self.name}", quota=quota, patience=patience)
            for url in (base_url, past_url)
        )

    async def weather(self, places: Sequence[Place], *, start: datetime, end: datetime, now: datetime) -> Columns:
        """The columns on the hours of [start, end), as far as there are values; an hour without one is absent.

        Raises Transient or Permanent; Refused where no place is given or [start, end) has no length.
        """
        require_span(start, end)
        if not places:
            raise Refused(f"{self.name}: no place given")
        found: Columns = {column: {} for column, *_ in _COLUMNS}
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        at, last = start, min(end, today)
        while at < last:
            upto = min(at + _LONGEST_RANGE, last)
            await self._into(found, self._past, _AS_FORECAST, places, start=at, end=upto)
            at = upto
        if end > today:
            first = max(start, today)
            await self._into(found, self._ahead, "", places, start=first, end=min(end, today + _FARTHEST))
        return found

    async def _into(
        self, found: Columns, http: Http, suffix: str, places: Sequence[Place], *, start: datetime, end: datetime
    ) -> None:
        """Add the hours of [start, end) to `found`."""
        query = {
            "latitude": ",".join(f"{latitude:.2f}" for latitude, _ in places),
            "longitude": ",".join(f"{longitude:.2f}" for _, longitude in places),
            "hourly": ",".join(f"{variable}{suffix}" for _, variable, _, _ in _COLUMNS),
            "start_date": f"{start:%Y-%m-%d}",
            # Both days are included; the radiation of a day's last hour is stamped on the next.
            "end_date": f"{end:%Y-%m-%d}",
            "timezone": "GMT",
            "timeformat": "unixtime",
            "wind_speed_unit": "ms",
        }
        body = await http.get("forecast", query, about=f"{len(places)} places")
        # One place gives an object, several a list of them.
        answers = body if isinstance(body, list) else [body]
        if len(answers) != len(places):
            raise Transient(f"{self.name}: {len(answers)} answers for {len(places)} places")
        hours = range(hour_number(start), hour_number(end - timedelta(microseconds=1)) + 1)
        sums: dict[tuple[str, int], list[float]] = {}
        for answer in answers:
            for column, hour, value in self._values(answer, suffix):
                if hour in hours:
                    sums.setdefault((column, hour), []).append(value)
        for (column, hour), values in sums.items():
            # A mean over fewer places would be another place's weather.
            if len(values) == len(places):
                found[column][hour] = math.fsum(values) / len(values)

    def _values(self, answer: object, suffix: str) -> Iterator[tuple[str, int, float]]:
        told = payload.mapping(answer, who=self.name)
        if told.get("utc_offset_seconds") != 0:
            raise Transient(f"{self.name}: times {payload.shown(told.get('utc_offset_seconds'))} s off UTC came")
        hourly = payload.mapping(told.get("hourly"), who=self.name)
        units: Mapping[str, Any] = payload.mapping(told.get("hourly_units"), who=self.name)
        stamps = [payload.unix_moment(one, who=self.name) for one in payload.first_list(hourly, "time", who=self.name)]
        for column, variable, unit, before_h in _COLUMNS:
            name = f"{variable}{suffix}"
            if units.get(name) != unit:
                raise Transient(f"{self.name}: {name} comes in {payload.shown(units.get(name))}, not {unit}")
            values = payload.first_list(hourly, name, who=self.name)
            if len(values) != len(stamps):
                raise Transient(f"{self.name}: {len(values)} values of {name} for {len(stamps)} times")
            for stamp, raw in zip(stamps, values, strict=True):
                if (value := payload.number(raw, who=self.name)) is not None:
                    yield column, hour_number(stamp) - before_h, value
