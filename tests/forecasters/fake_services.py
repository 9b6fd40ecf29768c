"""EIA, WattTime, the Carbon Aware SDK and Open-Meteo as they answer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from forecasters.fake_entsoe import mixture
from kilowait_forecasters.providers.watttime import G_PER_KWH_OF_LB_PER_MWH

API_KEY = "eia-0b1c2d3e"
USER, PASSWORD = "ada", "pa55-word"
HOUR = timedelta(hours=1)
FIVE = timedelta(minutes=5)

Value = Callable[[datetime], float | None]


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


# EIA


def eia_row(ends: datetime, fueltype: str, value: str | None, respondent: str) -> dict[str, Any]:
    return {
        "period": f"{ends:%Y-%m-%dT%H}",
        "respondent": respondent,
        "respondent-name": respondent,
        "fueltype": fueltype,
        "type-name": fueltype,
        "value": value,
        "value-units": "megawatthours",
    }


def eia_load_row(ends: datetime, value: str | None, respondent: str, *, kind: str = "DF") -> dict[str, Any]:
    row = eia_row(ends, "", value, respondent) | {"type": kind, "type-name": "Day-ahead demand forecast"}
    del row["fueltype"]
    return row


def eia_load(hour: datetime) -> float:
    """What was forecast a day ahead for the hour that starts then, MWh."""
    return 25_000.0 + 10 * hour.hour + hour.day


def eia(path: str, params: dict[str, str], *, value: Value, now: datetime, late: timedelta = HOUR) -> tuple[int, Any]:
    if "api_key" not in params:
        return 403, {"error": {"code": "API_KEY_MISSING", "message": "No api_key was supplied.  Please register."}}
    if params["api_key"] != API_KEY:
        return 403, {"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied."}}
    if params.get("frequency") not in ("hourly", "local-hourly"):
        return 400, {"error": "Invalid frequency provided.", "code": 400}
    hourly = {"/electricity/rto/fuel-type-data/data/": eia_generated, "/electricity/rto/region-data/data/": eia_region}
    if path not in hourly:
        return 404, {"error": "Not found.", "code": 404}
    first, last = (datetime.strptime(params[key], "%Y-%m-%dT%H").replace(tzinfo=UTC) for key in ("start", "end"))
    rows, ends = [], first
    while ends <= last:
        rows += hourly[path](ends, params, value=value, known=ends <= now - late, now=now)
        ends += HOUR
    offset, length = int(params.get("offset", "0")), min(int(params.get("length", "5000")), 5000)
    if params.get("data[]") != "value":
        rows = [{key: cell for key, cell in row.items() if key != "value"} for row in rows]
    body = {"total": str(len(rows)), "frequency": "hourly", "data": rows[offset : offset + length]}
    return 200, {"response": body, "request": {}, "apiVersion": "2.1.12"}


def eia_generated(
    ends: datetime, params: dict[str, str], *, value: Value, known: bool, now: datetime
) -> list[dict[str, Any]]:
    if not known:
        return []
    g_per_kwh = value(ends - HOUR)
    amounts = (None, None) if g_per_kwh is None else mixture(g_per_kwh)
    respondent = params["facets[respondent][]"]
    rows = [
        eia_row(ends, fueltype, None if amount is None else repr(amount), respondent)
        for fueltype, amount in zip(("COL", "WND"), amounts, strict=True)
    ]
    return [*rows, eia_row(ends, "BAT", "-350", respondent)]


def eia_region(
    ends: datetime, params: dict[str, str], *, value: Value, known: bool, now: datetime
) -> list[dict[str, Any]]:
    """What was forecast reaches to the end of the authority's tomorrow, what was drawn to an hour ago."""
    tomorrow_ends = now.replace(hour=8, minute=0, second=0, microsecond=0) + 48 * HOUR
    forecast = None if value(ends - HOUR) is None else f"{eia_load(ends - HOUR):.0f}"
    amounts = {"D": "24000" if known else None, "DF": forecast if ends <= tomorrow_ends else None}
    wanted = params.get("facets[type][]")
    return [
        eia_load_row(ends, amount, params["facets[respondent][]"], kind=kind)
        for kind, amount in amounts.items()
        if wanted in (None, kind) and (known or ends <= tomorrow_ends)
    ]


# WattTime


class WattTimeServer:
    """Tokens that end; `regions` are those of the account."""

    def __init__(self) -> None:
        self.logins = 0
        self.valid: set[str] = set()
        self.regions = {"CAISO_NORTH"}
        self.warnings: Any = []

    def answer(
        self, path: str, params: dict[str, str], authorization: str, *, value: Value, now: datetime
    ) -> tuple[int, Any]:
        if path == "/login":
            wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if authorization != f"Basic {wanted}":
                return 403, {"detail": "Forbidden"}
            self.logins += 1
            self.valid.add(f"jwt-{self.logins}")
            return 200, {"token": f"jwt-{self.logins}"}
        if authorization.removeprefix("Bearer ") not in self.valid:
            return 401, {"detail": "Could not validate credentials"}
        what = path.removeprefix("/v3/")
        if what == "my-access":
            endpoints = [{"endpoint": "v3/forecast", "models": []}, {"endpoint": "v3/historical", "models": []}]
            regions = [{"region": name, "endpoints": endpoints} for name in sorted(self.regions)]
            health = {"signal_type": "health_damage", "regions": regions}
            return 200, {"signal_types": [{"signal_type": "co2_moer", "regions": regions}, health]}
        if params.get("signal_type") != "co2_moer":
            return 422, {"detail": [{"loc": ["query", "signal_type"], "msg": "Field required", "type": "missing"}]}
        if what == "region-from-loc":
            if float(params["latitude"]) < 0:
                return 404, {"detail": "Coordinates have no region"}
            return 200, {"region": "CAISO_NORTH", "region_full_name": "California", "signal_type": "co2_moer"}
        if params["region"] not in self.regions:
            return 403, {"detail": "Forbidden"}
        if what == "forecast":
            first, count = five_of(now), max(int(params["horizon_hours"]) * 12, 1)
            points = [first + n * FIVE for n in range(count)]
        else:
            start, end = (datetime.fromisoformat(params[key]) for key in ("start", "end"))
            if start.tzinfo is None or end - start > timedelta(days=32):
                return 422, {"detail": [{"loc": ["query", "start"], "msg": "Range too long", "type": "value_error"}]}
            at = five_of(start)
            at += FIVE if at < start else timedelta()
            points = []
            while at <= min(end, now):
                points.append(at)
                at += FIVE
        rows = [
            {"point_time": at.isoformat(), "value": None if v is None else v / G_PER_KWH_OF_LB_PER_MWH}
            for at in points
            for v in [value(at)]
        ]
        meta = {
            "region": params["region"],
            "signal_type": "co2_moer",
            "units": "lbs_co2_per_mwh",
            "data_point_period_seconds": 300,
            "model": {"date": "2026-03-01"},
            "warnings": self.warnings,
        }
        if what == "forecast":
            meta |= {"generated_at": five_of(now).isoformat(), "generated_at_period_seconds": 300}
        return 200, {"data": rows, "meta": meta}


def five_of(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 5 * 5, second=0, microsecond=0)


# Carbon Aware SDK


def carbon_aware_sdk(path: str, params: dict[str, str], *, value: Value, now: datetime) -> tuple[int, Any]:
    if path == "/locations":
        return 200, {
            "westeurope": {"Latitude": 50.11, "Longitude": 8.68, "Name": "westeurope"},
            "nowhere": {"Latitude": -40.0, "Longitude": -140.0, "Name": "nowhere"},
            "unplaced": {"Latitude": None, "Longitude": None, "Name": "unplaced"},
        }
    if params.get("location") != "westeurope":
        return 400, {"title": "ArgumentException", "status": 400, "detail": "Unknown location", "errors": {}}
    if path == "/emissions/forecasts/current":
        hours = [hour_of(now) + n * HOUR for n in range(25)]
        rows = [
            {"location": "DE", "timestamp": at.isoformat(), "duration": 60, "value": v}
            for at in hours
            for v in [value(at)]
            if v is not None
        ]
        told = {
            "generatedAt": (now - timedelta(minutes=9)).isoformat(),
            "requestedAt": now.isoformat(),
            "location": "westeurope",
            "dataStartAt": hours[0].isoformat(),
            "dataEndAt": (hours[-1] + HOUR).isoformat(),
            "windowSize": 60,
            "optimalDataPoints": rows[:1],
            "forecastData": rows,
        }
        return 200, [told]
    start, end = (datetime.fromisoformat(params[key]) for key in ("time", "toTime"))
    at = hour_of(start)
    rows = []
    while at < min(end, now):
        if (v := value(at)) is not None:
            rows.append({"location": "DE", "time": at.isoformat(), "rating": v, "duration": "01:00:00"})
        at += HOUR
    return (200, rows) if rows else (204, [])


# Open-Meteo


def weather_truth(variable: str, place: float, moment: datetime) -> float:
    """What is reported at `moment` for the place at that latitude."""
    base = {"wind_speed_100m": 8.0, "shortwave_radiation": 300.0, "temperature_2m": 15.0}[variable]
    return base + place / 100 + moment.hour + moment.day / 100


UNITS = {"wind_speed_100m": "m/s", "shortwave_radiation": "W/m²", "temperature_2m": "°C"}


def open_meteo(params: dict[str, str]) -> tuple[int, Any]:
    places = [float(text) for text in params["latitude"].split(",")]
    if len(places) != len(params["longitude"].split(",")):
        return 400, {"error": True, "reason": "Parameter 'latitude' and 'longitude' must have the same number"}
    if params.get("timezone") != "GMT" or params.get("timeformat") != "unixtime":
        return 400, {"error": True, "reason": "the fake speaks unixtime in GMT"}
    first, last = (datetime.fromisoformat(params[key]).replace(tzinfo=UTC) for key in ("start_date", "end_date"))
    hours = [first + n * HOUR for n in range(24 * ((last - first).days + 1))]
    answers = []
    for place in places:
        hourly: dict[str, Any] = {"time": [int(hour.timestamp()) for hour in hours]}
        for name in params["hourly"].split(","):
            variable = name.removesuffix("_previous_day1")
            shift = 100 if name != variable else 0
            hourly[name] = [weather_truth(variable, place, hour) + shift for hour in hours]
        units = {name: UNITS[name.removesuffix("_previous_day1")] for name in params["hourly"].split(",")}
        speed = {"ms": "m/s"}.get(params.get("wind_speed_unit", ""), "km/h")
        units = {name: speed if unit == "m/s" else unit for name, unit in units.items()}
        answers.append({"utc_offset_seconds": 0, "hourly": hourly, "hourly_units": units | {"time": "unixtime"}})
    return 200, answers[0] if len(answers) == 1 else answers
