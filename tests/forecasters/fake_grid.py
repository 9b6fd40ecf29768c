"""A small HTTP server on loopback that answers like the services do, faults included."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from forecasters import fake_entsoe, fake_services

TOKEN = "tok-5f2c9e"
QUARTER = timedelta(minutes=15)
HALF_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)


def truth(moment: datetime) -> float:
    """The intensity that all fakes report for the slot that starts at `moment`, g/kWh."""
    return 200 + 10 * moment.hour + (5 if moment.minute else 0) + moment.day


def hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


@dataclass
class Reply:
    status: int = 200
    body: bytes | str | dict[str, Any] | list[Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncate: bool = False
    hold: bool = False

    def bytes(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


@dataclass
class Question:
    path: str
    params: dict[str, str]
    headers: dict[str, str]


class FakeGrid:
    """`faults` are sent first, one per request; afterwards `answer` decides (by default, well-behaved services)."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.nulls: set[datetime] = set()
        self.published_until: datetime | None = None
        self.em_zones = {"DE", "FR"}
        self.watttime = fake_services.WattTimeServer()
        self.faults: list[Reply] = []
        self.answer: Callable[[Question], Reply] | None = None
        self.questions: list[Question] = []
        self.released = threading.Event()
        grid = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                split = urlsplit(self.path)
                params = {key: values[0] for key, values in parse_qs(split.query).items()}
                question = Question(split.path, params, {key.lower(): value for key, value in self.headers.items()})
                grid.questions.append(question)
                reply = grid.faults.pop(0) if grid.faults else (grid.answer or grid.well_behaved)(question)
                if reply.hold:
                    grid.released.wait(10)
                body = reply.bytes()
                self.send_response(reply.status)
                for key, value in reply.headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body) * 2 if reply.truncate else len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                # A client that has lost patience hangs up while we still write.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> FakeGrid:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def well_behaved(self, question: Question) -> Reply:
        if question.path.startswith("/carbon-intensity/"):
            return self._electricity_maps(question)
        if question.path.startswith("/intensity/"):
            return self._neso(question)
        if question.path == "/public_power":
            return self._public_power(question)
        if question.path == "/public_power_forecast":
            return self._public_power_forecast(question)
        if question.path == "/co2eq":
            return self._energy_charts(question)
        _, service, *rest = question.path.split("/")
        path, params = "/" + "/".join(rest), question.params
        match service:
            case "entsoe":
                return Reply(*fake_entsoe.answer(params, value=self._value, now=self.now))
            case "eia":
                return Reply(*fake_services.eia(path, params, value=self._value, now=self.now))
            case "watttime":
                held = question.headers.get("authorization", "")
                return Reply(*self.watttime.answer(path, params, held, value=self._value, now=self.now))
            case "meteo" | "past-meteo":
                return Reply(*fake_services.open_meteo(params))
            case "casdk":
                return Reply(*fake_services.carbon_aware_sdk(path, params, value=self._value, now=self.now))
        return Reply(404, {"error": "Not found"})

    # Electricity Maps

    def _electricity_maps(self, question: Question) -> Reply:
        params = question.params
        if question.headers.get("auth-token") != TOKEN:
            return Reply(401, {"error": "Invalid auth-token"})
        zone = params.get("zone") if params.get("disableCallerLookup") == "true" else "FR"
        if zone not in self.em_zones:
            return Reply(400, {"error": f"Zone '{zone}' does not exist."})
        what = question.path.rsplit("/", 1)[1]
        stamp = _em_stamp(self.now - timedelta(minutes=13))
        if what == "forecast":
            if params.get("horizonHours") not in ("6", "24", "48", "72"):
                return Reply(400, {"error": "Invalid horizonHours"})
            hours = [hour_of(self.now) + HOUR * n for n in range(int(params["horizonHours"]) + 1)]
            rows: list[dict[str, Any]] = [
                {"carbonIntensity": self._value(hour), "datetime": _em_stamp(hour)} for hour in hours
            ]
            body = {"zone": zone, "forecast": rows, "updatedAt": stamp, "temporalGranularity": "hourly"}
            return Reply(body=body)
        if what == "history":
            hours = [hour_of(self.now) + HOUR * n for n in range(-23, 1)]
            return Reply(body={"zone": zone, "temporalGranularity": "hourly", "history": self._em_rows(zone, hours)})
        start, end = (datetime.fromisoformat(params[key]) for key in ("start", "end"))
        if end - start > timedelta(days=10):
            return Reply(400, {"error": "The range must not exceed 10 days"})
        hours, at = [], hour_of(start)
        while at <= min(end, self.now):
            hours.append(at)
            at += HOUR
        return Reply(body={"zone": zone, "data": self._em_rows(zone, hours)})

    def _em_rows(self, zone: str | None, hours: list[datetime]) -> list[dict[str, Any]]:
        return [
            {
                "zone": zone,
                "carbonIntensity": self._value(hour),
                "datetime": _em_stamp(hour),
                "updatedAt": _em_stamp(hour + HOUR * 5),
                "emissionFactorType": "lifecycle",
                "isEstimated": hour > self.now - HOUR * 4,
                "estimationMethod": None,
            }
            for hour in hours
        ]

    # NESO

    def _neso(self, question: Question) -> Reply:
        _, _, start_text, what = question.path.split("/")
        start = datetime.fromisoformat(start_text)
        end = start + timedelta(hours=48) if what == "fw48h" else datetime.fromisoformat(what)
        if end - start > timedelta(days=14):
            return Reply(
                400, {"error": {"code": "400 Bad Request", "message": "Please enter a range of at most 14 days"}}
            )
        if self.published_until is not None:
            end = min(end, self.published_until)
        at = start.replace(minute=start.minute // 30 * 30)
        # A time exactly on the half-hour also brings the slot that ends there.
        at -= HALF_HOUR if at == start else timedelta()
        rows = []
        while at < end:
            value = self._value(at)
            realised = value if at + HALF_HOUR <= self.now - HALF_HOUR else None
            rows.append(
                {
                    "from": at.strftime("%Y-%m-%dT%H:%MZ"),
                    "to": (at + HALF_HOUR).strftime("%Y-%m-%dT%H:%MZ"),
                    "intensity": {"forecast": value, "actual": realised, "index": "moderate"},
                }
            )
            at += HALF_HOUR
        return Reply(body={"data": rows})

    # Energy-Charts

    def _energy_charts(self, question: Question) -> Reply:
        start, end = (datetime.fromisoformat(question.params[key]) for key in ("start", "end"))
        if self.published_until is not None:
            end = min(end, self.published_until)
        quarters = []
        while start <= end:
            quarters.append(start)
            start += QUARTER
        if not quarters:
            return Reply(404, {"detail": "no content available"})
        came = [at + QUARTER <= self.now - HALF_HOUR for at in quarters]
        return Reply(
            body={
                "unix_seconds": [int(at.timestamp()) for at in quarters],
                "co2eq": [self._value(at) if there else None for at, there in zip(quarters, came, strict=True)],
                "co2eq_forecast": [self._value(at) for at in quarters],
                "deprecated": False,
            }
        )

    def _public_power(self, question: Question) -> Reply:
        start, end = (datetime.fromisoformat(question.params[key]) for key in ("start", "end"))
        quarters = []
        while start <= end:
            quarters.append(start)
            start += QUARTER
        known = [(at, at + QUARTER <= self.now - HALF_HOUR) for at in quarters]
        types = {"Fossil hard coal": 300.0, "Wind onshore": 500.0, "Hydro pumped storage": 90.0, "Load": 900.0}
        produced = [
            {
                "name": name,
                "data": [value + at.hour if there else None for at, there in known],
            }
            for name, value in types.items()
        ]
        stamps = [int(at.timestamp()) for at in quarters]
        return Reply(body={"unix_seconds": stamps, "production_types": produced, "deprecated": False})

    def _public_power_forecast(self, question: Question) -> Reply:
        """One production type, as announced a day ahead; a country without coast has nothing of wind at sea."""
        kind, at = question.params["production_type"], datetime.fromisoformat(question.params["start"])
        last = fake_entsoe.published_until("A65" if kind == "load" else "A69", self.now)
        end = min(datetime.fromisoformat(question.params["end"]) + QUARTER, last)
        quarters = []
        while at < end:
            quarters.append(at)
            at += QUARTER
        if not quarters or (kind == "wind_offshore" and question.params["country"] == "at"):
            return Reply(404, {"detail": "no content available"})
        return Reply(
            body={
                "unix_seconds": [int(each.timestamp()) for each in quarters],
                "forecast_values": [float(len(kind) * 100 + each.hour + each.minute / 60) for each in quarters],
                "production_type": kind,
                "forecast_type": question.params["forecast_type"],
                "deprecated": False,
            }
        )

    def _value(self, moment: datetime) -> float | None:
        return None if moment in self.nulls else truth(moment)


def _em_stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
