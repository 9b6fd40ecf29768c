"""Jobs over REST: admitted once, refused with a reason, listed in pages, commanded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from world import HOUR, START

from .conftest import Door, job


def is_problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer, checked against RFC 9457."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    assert "\n" not in body["detail"]
    return body


def test_a_job_is_admitted_with_its_plan(door: Door) -> None:
    answer = door.call("POST", "/jobs", json=job())
    assert answer.status_code == 201
    plan = answer.json()["plan"]
    assert plan["windows"][0]["start"].startswith("2026-11-23T08:00:00")
    assert plan["carbon_g"] == pytest.approx(4 * 0.4 * 2 * 100)
    assert plan["run_now_g"] == pytest.approx(4 * 0.4 * 2 * 400)
    assert plan["saved_pct"] == pytest.approx(75)
    made = answer.json()["job"]
    assert door.get(f"/jobs/{made['id']}") == made
    assert door.get("/jobs/train")["id"] == made["id"], "a name that is unique will do"


def test_the_same_key_is_the_same_job_even_where_a_second_one_would_not_fit(door: Door) -> None:
    wish = job(resources={"gpus": 8}, duration="2h", within="3h")
    first, second = (door.call("POST", "/jobs", json=wish, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["job"]["id"] == second.json()["job"]["id"]
    door.world.run(timedelta(minutes=6))
    third = door.call("POST", "/jobs", json=wish, headers={"Idempotency-Key": "k1"}).json()
    assert third["job"]["state"] == "running"
    assert third["plan"]["windows"] == third["job"]["windows"]
    assert third["plan"]["carbon_g"] == pytest.approx(first.json()["plan"]["carbon_g"], rel=0.2)
    assert len(door.get("/jobs")["jobs"]) == 1
    is_problem(door.call("POST", "/jobs", json=wish, headers={"Idempotency-Key": "k2"}), 422)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"within": None, "deadline": "2026-11-22T00:00:00Z"}, "deadline_passed"),
        ({"duration": "30h"}, "window_too_short"),
        ({"resources": {"gpus": 9}}, "gang_too_large"),
        ({"resources": {"gpus": 4, "gpu_type": "H100"}}, None),
        ({"duration": None}, "duration_unknown"),
        ({"earliest": "2026-11-23T23:30:00Z"}, "window_too_short"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    door: Door, changes: dict[str, Any], reason: str | None
) -> None:
    wish = {key: value for key, value in job(**changes).items() if value is not None}
    answer = door.call("POST", "/jobs", json=wish)
    if reason is None:
        assert answer.status_code == 201, "a region that does not say its GPU type may have any"
        return
    assert is_problem(answer, 422)["reason"] == reason
    assert door.get("/jobs")["jobs"] == []


def test_a_job_that_would_make_another_one_late_is_refused(door: Door) -> None:
    door.submit(resources={"gpus": 8}, duration="4h", within="5h")
    door.world.run(timedelta(0))
    answer = door.call("POST", "/jobs", json=job(resources={"gpus": 8}, duration="4h", within="5h", priority="high"))
    assert is_problem(answer, 422)["reason"] == "capacity_taken"


@pytest.mark.parametrize(
    "more",
    [
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}},
        {"json": []},
        {"json": None},
        {"json": {}},
        {"json": job(nam="x")},
        {"json": job(within="24")},
        {"json": job(resources={"gpus": "many"})},
        {"json": job(regions={"home": "mars"})},
        {"json": job(name="a\x00b")},
        {"json": job(duration="9" * 400 + "d")},
        {"json": job(deadline=1e300)},
        {"content": b'{"name": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
        {"json": job(), "params": {"package": "../admin.token"}},
        {"json": job(), "params": {"package": "00000000000000000000000000000000.zip"}},
        {"json": job(), "headers": {"Idempotency-Key": "k" * 201}},
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/plans"])
def test_what_is_malformed_is_a_bad_request_in_one_line(door: Door, more: dict[str, Any], path: str) -> None:
    if path == "/plans" and ("params" in more or "Idempotency-Key" in more.get("headers", {})):
        return
    is_problem(door.call("POST", path, **more), 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/jobs/nobody", 404),
        ("GET", "/jobs/nobody/explain", 404),
        ("GET", "/jobs/nobody/logs", 404),
        ("POST", "/jobs/nobody/cancel", 404),
        ("POST", "/jobs/nobody/explode", 404),
        ("GET", "/nowhere", 404),
        ("PATCH", "/regions/mars", 404),
        ("PATCH", "/budgets/none", 404),
        ("GET", "/budgets/none/entries", 404),
        ("GET", "/forecasts?zone=MARS", 404),
        ("PUT", "/jobs", 405),
        ("GET", "/jobs?limit=0", 400),
        ("GET", "/jobs?state=lost", 400),
        ("GET", "/reports/savings?start=2026-11-23T00:00:00", 400),
        ("GET", "/reports/savings?start=yesterday", 400),
        ("GET", "/reports/savings?month=2026-13", 400),
        ("GET", "/reports/savings?month=2026-11&start=2026-11-23T00:00:00Z", 400),
        ("GET", "/reports/savings?month=2026-11&timezone=Mars/Olympus", 400),
    ],
)
def test_every_error_is_a_problem_document(door: Door, method: str, path: str, status: int) -> None:
    problem = is_problem(door.call(method, path, json={} if method == "PATCH" else None), status)
    assert problem["title"] != problem["detail"]


def test_a_wrong_change_of_a_region_or_budget_is_a_bad_request(door: Door) -> None:
    budget = {"id": "b", "scope": "organisation", "name": "all", "limit_g": 5}
    assert door.call("POST", "/budgets", json=budget).status_code == 201
    for path, change, hint in (
        ("/regions/aa", {"capacity_gpus": 0}, "capacity_gpus"),
        ("/regions/aa", {"pue": 0.5}, "pue"),
        ("/regions/aa", {"capacity": 4}, "did you mean 'capacity_gpus'?"),
        ("/budgets/b", {"limit_g": -1}, "limit_g"),
        ("/budgets/b", {"limit_kg": 1}, "did you mean 'limit_g'?"),
    ):
        assert hint in is_problem(door.call("PATCH", path, json=change), 400)["detail"]
    assert door.call("PATCH", "/regions/aa", json={"pue": 1.3, "name": "zz"}).json()["pue"] == 1.3
    assert [region["name"] for region in door.get("/regions")] == ["aa"]


def test_a_failure_of_the_server_says_nothing_of_its_inside(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_more: Any) -> None:
        raise RuntimeError("password=secret")

    monkeypatch.setattr(door.world.server.store, "jobs", broken)
    problem = is_problem(door.call("GET", "/jobs"), 500)
    assert "secret" not in str(problem)


def test_pages_hold_every_job_once(door: Door) -> None:
    ids = [door.submit(name=f"j{n}", resources={"gpus": 1}, duration="1h")["id"] for n in range(5)]
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = door.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        seen += [one["id"] for one in page["jobs"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(ids)
    assert len(seen) == 5
    assert cursor is None
    assert door.get("/jobs", params={"state": ["running", "failed"]})["jobs"] == []


def test_a_plan_has_no_effect(door: Door) -> None:
    store = door.world.server.store
    before = (store.jobs(), store.entries(), store.last_event())
    answer = door.call("POST", "/plans", json=job())
    assert answer.status_code == 200
    assert answer.json()["saved_g"] > 0
    assert (store.jobs(), store.entries(), store.last_event()) == before == ([], [], 0)


def test_a_job_tells_its_story(door: Door) -> None:
    made = door.submit()
    assert is_problem(door.call("GET", f"/jobs/{made['id']}/logs"), 404)
    door.world.run(timedelta(minutes=6))
    told = door.get(f"/jobs/{made['id']}/explain")
    assert told["reason"] == "waiting_for_window"
    assert "100 g/kWh then, 400 at home now" in told["why"]
    assert told["regions"][0]["in_windows_g_per_kwh"] == [100.0]
    assert len(door.get(f"/jobs/{made['id']}/windows")) == 1
    assert door.get(f"/jobs/{made['id']}/energy") == {"energy_mj": None, "intervals": []}
    door.world.finish(made["id"])
    assert door.get(f"/jobs/{made['id']}")["state"] == "succeeded"
    energy = door.get(f"/jobs/{made['id']}/energy")
    assert energy["energy_mj"] == sum(i["energy_mj"] for i in energy["intervals"]) > 0
    kinds = [event["type"] for event in door.get(f"/jobs/{made['id']}/events")]
    assert kinds[0] == "planned"
    assert {"ticked", "submitted", "observed"} <= set(kinds)


def test_commands_do_what_they_say_and_say_why_not(door: Door) -> None:
    made = door.submit(within="8h", duration="6h")
    path = f"/jobs/{made['id']}"
    door.world.run(timedelta(minutes=6))
    assert "no checkpoint" in is_problem(door.call("POST", f"{path}/suspend"), 409)["detail"]
    is_problem(door.call("POST", f"{path}/resume"), 409)
    assert door.call("POST", f"{path}/cancel").json()["want"] == "cancel"
    assert "being cancelled" in is_problem(door.call("POST", f"{path}/suspend"), 409)["detail"]
    door.world.run(HOUR)
    assert door.get(path)["state"] == "cancelled"
    assert "already ended" in is_problem(door.call("POST", f"{path}/cancel"), 409)["detail"]


def test_a_package_is_kept_under_its_content_and_a_file_that_is_none_is_refused(door: Door) -> None:
    first, second = (door.call("POST", "/packages", content=b"PK\x03\x04...") for _ in range(2))
    assert first.status_code == 201
    assert first.json() == second.json()
    assert door.call("POST", "/jobs", params=first.json(), json=job()).status_code == 201
    is_problem(door.call("POST", "/packages", content=b"#!/bin/sh"), 400)


def test_before_the_first_round_nothing_is_promised(open_door: Callable[..., Door]) -> None:
    door = open_door()
    door.world.server.control.ticked_at = None
    assert "still starting" in is_problem(door.call("POST", "/jobs", json=job()), 409)["detail"]
    assert door.client.get("/readyz").status_code == 503


def test_times_are_given_with_their_offset(door: Door) -> None:
    made = door.submit()
    assert made["submitted_at"] == START.isoformat().replace("+00:00", "Z")
    assert made["deadline"].endswith("Z")
