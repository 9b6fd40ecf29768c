"""Who may do what; and that no secret ever shows."""

from __future__ import annotations

import logging
import stat

import pytest

from .conftest import Door, job

LOOKS = ["/jobs", "/regions", "/forecasts", "/budgets", "/ledger", "/jobs/x/explain", "/events"]
ADMINS = [
    ("POST", "/regions"),
    ("PATCH", "/regions/aa"),
    ("POST", "/budgets"),
    ("PATCH", "/budgets/x"),
    ("GET", "/tokens"),
    ("POST", "/tokens"),
    ("DELETE", "/tokens/x"),
]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer kw_wrong", "kw_wrong"])
def test_without_a_known_token_nothing_is_answered(door: Door, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in [("GET", "/jobs"), ("POST", "/readings"), ("GET", "/events"), *ADMINS]:
        answer = door.client.request(method, f"/api/v1{path}", headers=headers)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 401


def test_an_agent_may_only_send_readings(door: Door) -> None:
    agent = door.token("agent")
    assert door.call("POST", "/readings", token=agent, content=b"x").status_code == 400, "it is let in, and read"
    for path in LOOKS:
        assert door.call("GET", path, token=agent).status_code == 403
    for method, path in (*ADMINS, ("POST", "/jobs"), ("POST", "/plans"), ("POST", "/packages")):
        assert door.call(method, path, token=agent, json=job()).status_code == 403


def test_a_user_submits_and_looks_and_neither_governs_nor_measures(door: Door) -> None:
    user = door.token("user")
    assert door.call("POST", "/jobs", token=user, json=job()).status_code == 201
    assert door.call("GET", "/jobs", token=user).status_code == 200
    for method, path in (*ADMINS, ("POST", "/readings")):
        answer = door.call(method, path, token=user, json={})
        assert answer.status_code == 403, (method, path)
        assert "admin" in answer.json()["detail"]


def test_a_revoked_token_stops_working_at_once(door: Door) -> None:
    made = door.call("POST", "/tokens", json={"name": "u", "role": "user"}).json()
    assert door.call("GET", "/jobs", token=made["secret"]).status_code == 200
    assert door.call("DELETE", f"/tokens/{made['id']}").status_code == 204
    assert door.call("GET", "/jobs", token=made["secret"]).status_code == 401
    assert door.call("DELETE", f"/tokens/{made['id']}").status_code == 404


def test_a_role_that_does_not_exist_is_refused(door: Door) -> None:
    answer = door.call("POST", "/tokens", json={"name": "x", "role": "root"})
    assert answer.status_code == 400
    assert "admin, user, agent" in answer.json()["detail"]


def test_no_token_shows_in_logs_errors_or_lists(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = door.call("POST", "/tokens", json={"name": "u", "role": "user"})
    secret = made.json()["secret"]
    shown = [
        door.call("GET", "/tokens", token=door.admin),
        door.call("GET", "/tokens", token=secret),
        door.call("GET", "/nothing", token=secret),
        door.call("POST", "/jobs", token=secret, json={"name": secret[:3]}),
        door.call("GET", "/jobs", token=secret + "x"),
    ]
    (listed,) = [token for token in shown[0].json() if token["name"] == "u"]
    assert set(listed) == {"id", "name", "role", "node", "created_at"}
    text = caplog.text + "".join(answer.text for answer in shown)
    assert secret not in text
    assert door.admin not in text


def test_the_admin_token_lies_in_a_file_that_only_its_owner_reads(door: Door) -> None:
    path = door.world.server.token_file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.parent == door.world.server.settings.state_dir


def test_health_and_the_schema_need_no_token(door: Door) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/clock"):
        assert door.client.get(path).status_code == 200, path
