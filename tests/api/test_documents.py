"""The schema names every promised route; reports and events come as promised from a running server."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import Message

from kilowait_scheduler.api.app import create_app
from world import HOUR

from .conftest import Door, client_of

# Section 4 of the contract.
PROMISED = {
    "/estimates": {"post"},
    "/jobs": {"get", "post"},
    "/jobs/{}": {"get"},
    "/jobs/{}/{}": {"post"},
    "/jobs/{}/explain": {"get"},
    "/jobs/{}/events": {"get"},
    "/jobs/{}/windows": {"get"},
    "/jobs/{}/energy": {"get"},
    "/jobs/{}/logs": {"get"},
    "/plans": {"post"},
    "/regions": {"get", "post"},
    "/regions/{}": {"patch"},
    "/forecasts": {"get"},
    "/grants": {"get"},
    "/readings": {"post"},
    "/budgets": {"get", "post"},
    "/budgets/{}": {"patch"},
    "/budgets/{}/entries": {"get"},
    "/ledger": {"get"},
    "/reports/savings": {"get"},
    "/reports/progress/{}": {"get"},
    "/reports/reconciliation": {"post"},
    "/clean-supply": {"get", "post"},
    "/clean-supply/{}": {"delete"},
    "/residual-mixes": {"get", "post"},
    "/tokens": {"get", "post"},
    "/tokens/{}": {"delete"},
    "/events": {"get"},
}


def test_every_promised_route_is_in_the_schema(door: Door) -> None:
    paths = door.client.get("/api/v1/openapi.json").json()["paths"]
    served: dict[str, set[str]] = {}
    for path, methods in paths.items():
        plain = "/".join("{}" if part.startswith("{") else part for part in path.removeprefix("/api/v1").split("/"))
        served.setdefault(plain, set()).update(methods)
    missing = {path: methods - served.get(path, set()) for path, methods in PROMISED.items()}
    assert {path: methods for path, methods in missing.items() if methods} == {}


class Running:
    """A door whose control loop runs on its own thread, as in production; rounds when asked for."""

    def __init__(self, door: Door) -> None:
        self.door = door

    def after(self, span: timedelta, *, every: timedelta = HOUR) -> None:
        server = self.door.world.server

        async def one_round() -> None:
            async with server.ticker._round_lock:
                await server.control.tick()

        until = self.door.world.now + span
        while self.door.world.now < until:
            self.door.world.wall[0] += every // timedelta(microseconds=1)
            server.ticker.submit(one_round()).result(timeout=30)


@pytest.fixture
def running(open_door: Callable[..., Door]) -> Iterator[Running]:
    door = open_door(tick=HOUR)
    with client_of(door.world.server) as client:
        door.client = client
        yield Running(door)


def test_the_savings_report_comes_in_three_formats_that_agree(running: Running) -> None:
    door = running.door
    made = door.submit()
    running.after(14 * HOUR)
    assert door.get(f"/jobs/{made['id']}")["state"] == "succeeded"
    path = "/reports/savings"
    plain = door.call("GET", path, params={"format": "json"})
    assert plain.headers["Content-Type"].startswith("application/json")
    figures = plain.json()
    (line,) = figures["jobs"]
    assert line["saved_g"] > 0
    table = door.call("GET", path, params={"format": "csv"})
    assert table.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    (row,) = [row for row in rows if made["id"] in row.values()]
    assert float(row["saved_g"]) == pytest.approx(line["saved_g"], rel=1e-6)
    page = door.call("GET", path, params={"format": "html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "train" in page.text
    assert door.call("GET", path, params={"format": "pdf"}).status_code == 400
    assert door.get(path, params={"team": "nobody"})["jobs"] == []
    early = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00+01:00"}
    assert door.get(path, params=early)["jobs"] == []


def test_a_month_is_that_of_the_servers_reports_where_no_time_zone_is_named(open_door: Callable[..., Door]) -> None:
    door, path = open_door(tick=HOUR, reports_timezone="Europe/Berlin"), "/reports/savings"
    with client_of(door.world.server) as door.client:
        told = door.get(path, params={"month": "2026-11"})
        named = door.get(path, params={"month": "2026-11", "timezone": "Asia/Tokyo", "team": "nlp"})
        whole = door.get(path)
    assert (told["start"], told["end"]) == ("2026-10-31T23:00:00+00:00", "2026-11-30T23:00:00+00:00")
    assert (told["title"], told["timezone"]) == ("Savings report, November 2026", "Europe/Berlin")
    assert (whole["title"], whole["timezone"]) == ("Savings report", "Europe/Berlin")
    assert (named["start"], named["end"]) == ("2026-10-31T15:00:00+00:00", "2026-11-30T15:00:00+00:00")
    assert named["title"] == "Savings report, November 2026, team nlp"


def test_who_waits_for_a_report_can_ask_how_far_it_is_while_it_is_made(running: Running) -> None:
    door = running.door
    door.submit()
    reporting = door.world.server.reporting
    assert door.call("GET", "/reports/progress/mine").status_code == 404
    real, seen = reporting._measured, []

    def looked_at(*asked: Any) -> Any:
        found = real(*asked)
        seen.append(door.get("/reports/progress/mine"))
        return found

    reporting._measured = looked_at  # type: ignore[method-assign]
    assert door.call("GET", "/reports/savings", params={"watch": "mine"}).status_code == 200
    assert seen == [{"what": "reading energy", "done": 1, "jobs": 1}]
    assert door.call("GET", "/reports/progress/mine").status_code == 404, "nothing is left of it"


def test_logs_come_from_the_cluster_and_its_silence_is_no_server_error(running: Running) -> None:
    door = running.door
    made = door.submit(duration="4h", within="5h")
    running.after(timedelta(minutes=9), every=timedelta(minutes=3))
    assert door.get(f"/jobs/{made['id']}/logs") == {"run": 1, "region": "aa", "logs": "working\n"}
    assert door.call("GET", f"/jobs/{made['id']}/logs", params={"run": 2}).status_code == 404
    door.world.clusters["aa"].cut()
    answer = door.call("GET", f"/jobs/{made['id']}/logs")
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"


async def listen(door: Door, *, last_event_id: int | None, wanted: int) -> list[dict[str, Any]]:
    """The first `wanted` events of the stream, read as a client that then hangs up."""
    headers = [(b"authorization", f"Bearer {door.admin}".encode())]
    if last_event_id is not None:
        headers.append((b"last-event-id", str(last_event_id).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/api/v1/events",
        "raw_path": b"/api/v1/events",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    heard: list[str] = []
    hung_up = asyncio.Event()
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            assert (b"content-type", b"text/event-stream; charset=utf-8") in message["headers"]
        heard.append(message.get("body", b"").decode())
        if "".join(heard).count("\n\n") >= wanted:
            hung_up.set()

    await asyncio.wait_for(create_app(door.world.server)(scope, receive, send), timeout=20)
    events = []
    for block in "".join(heard).strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        events.append({"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])})
    return events


async def test_events_are_streamed_as_they_are_journalled_and_from_any_place(door: Door) -> None:
    made = await asyncio.to_thread(door.submit)
    await asyncio.to_thread(door.world.run, timedelta(minutes=6))
    old = await listen(door, last_event_id=0, wanted=1)
    assert (old[0]["id"], old[0]["event"], old[0]["job"]) == (1, "planned", made["id"])
    following = asyncio.create_task(listen(door, last_event_id=None, wanted=1))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(door.call, "POST", f"/jobs/{made['id']}/cancel")
    new = await following
    assert [event["event"] for event in new] == ["cancel_wanted"]
    assert new[0]["id"] > old[-1]["id"]
