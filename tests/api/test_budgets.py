"""Budgets over REST: a hard one holds a job, says so, and lets it go when it is raised."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from world import HOUR

from .conftest import Door

NEEDS_G = 4 * 0.4 * 2 * 100  # 4 GPUs at 400 W for 2 h at 100 g/kWh


def budget(door: Door, *, limit_g: float, enforcement: str = "hard", id_: str = "nlp") -> None:
    body = {"id": id_, "scope": "team", "name": "nlp", "limit_g": limit_g, "enforcement": enforcement}
    assert door.call("POST", "/budgets", json=body).status_code == 201


def test_a_hard_budget_holds_a_job_says_so_and_lets_it_go_when_raised(door: Door) -> None:
    budget(door, limit_g=NEEDS_G / 2)
    made = door.submit(team="nlp")
    free = door.submit(name="other", team="vision")
    door.world.run(timedelta(minutes=6))
    held = door.get(f"/jobs/{made['id']}")
    assert (held["state"], held["reason"], held["windows"]) == ("held", "budget_exhausted", [])
    assert "budget nlp (team nlp) has 0.160 kg left" in held["why"].lower()
    assert door.get(f"/jobs/{free['id']}")["state"] == "waiting"
    assert door.get("/budgets")[0]["left_g"] == pytest.approx(NEEDS_G / 2)
    door.world.run(10 * HOUR)
    assert door.get(f"/jobs/{made['id']}")["runs"] == [], "held is held, even while it is clean"
    assert door.call("PATCH", "/budgets/nlp", json={"limit_g": 5 * NEEDS_G}).status_code == 200
    door.world.run(timedelta(minutes=6))
    assert door.get(f"/jobs/{made['id']}")["state"] in ("waiting", "running")
    door.world.finish(made["id"])
    door.world.run(3 * HOUR)
    (status,) = door.get("/budgets")
    assert status["held_g"] == 0
    assert status["emitted_g"] > 0
    entries = door.get("/budgets/nlp/entries")["entries"]
    assert [entry["kind"] for entry in entries[:3]] == ["grant", "grant", "hold"]
    assert entries[2:] == door.get("/ledger", params={"job": made["id"]})["entries"]
    verified = door.get("/ledger/verification", params={"noted": entries[0]["hash"]})
    assert (verified["sound"], verified["entries"], verified["noted_at"]) == (True, len(entries), 1)
    assert verified["head"] == entries[-1]["hash"]


def test_the_ledger_is_read_page_by_page(door: Door) -> None:
    budget(door, limit_g=100 * NEEDS_G)
    for number in range(5):
        door.submit(name=f"j{number}", team="nlp")
    door.world.run(timedelta(minutes=6))
    whole = door.get("/ledger")
    assert whole["next"] is None
    for path in ("/ledger", "/budgets/nlp/entries"):
        seen: list[int] = []
        cursor: int | None = 0
        while cursor is not None:
            page = door.get(path, params={"cursor": cursor, "limit": 2})
            seen += [entry["seq"] for entry in page["entries"]]
            cursor = page["next"]
        assert seen == [entry["seq"] for entry in whole["entries"]]
    assert door.call("GET", "/ledger", params={"limit": 0}).status_code == 400


def test_a_soft_budget_holds_nobody(door: Door) -> None:
    budget(door, limit_g=1, enforcement="soft")
    made = door.submit(team="nlp")
    door.world.run(timedelta(minutes=6))
    assert door.get(f"/jobs/{made['id']}")["state"] == "waiting"
    assert door.get("/budgets")[0]["left_g"] < 0


def test_a_job_held_by_its_own_limit_takes_nothing_from_its_team(door: Door) -> None:
    budget(door, limit_g=10 * NEEDS_G)
    made = door.submit(team="nlp", carbon={"budget_kg": 0.01})
    door.world.run(timedelta(minutes=6))
    held = door.get(f"/jobs/{made['id']}")
    assert held["state"] == "held"
    assert "its own limit of 0.01 kg" in held["why"].lower()
    assert door.get("/budgets")[0]["held_g"] == 0
    assert [entry["kind"] for entry in door.get("/ledger")["entries"]] == ["grant"]


def test_a_held_job_can_be_cancelled(door: Door) -> None:
    budget(door, limit_g=1)
    made = door.submit(team="nlp")
    door.world.run(timedelta(minutes=6))
    assert door.call("POST", f"/jobs/{made['id']}/cancel").json()["state"] == "cancelled"


def test_energy_from_a_region_that_nobody_configured_stops_no_round(door: Door) -> None:
    """An agent with a wrong region name must not stop the books of all the others."""
    strange = door.submit(name="strange", within="3h")
    budget(door, limit_g=100 * NEEDS_G)
    usual = door.submit(name="usual", team="nlp", within="3h")
    door.world.run(timedelta(minutes=6))
    now = door.world.now
    reading = Reading(
        agent_id="lost",
        stream_epoch="e",
        seq=1,
        region="mars",
        node="n",
        source="simulated",
        device_uuid="d",
        start=now - HOUR,
        end=now,
        energy_mj=10**9,
        idle_mj=0,
        unattributed_mj=0,
        quality="measured",
        method="counter",
        uncertainty_pct=5.0,
        digest="x",
        shares=(RunShare(f"kw-{strange['id']}-1", strange["id"], 10**9),),
    )
    door.world.server.store.add_readings(Readings.of([reading]), at=now)
    door.world.finish(strange["id"], usual["id"])
    assert door.get("/budgets")[0]["emitted_g"] > 0


def test_people_ask_for_more_and_an_admin_decides(door: Door) -> None:
    budget(door, limit_g=100)
    user = door.token("user")
    asked = door.call("POST", "/budgets/nlp/requests", token=user, json={"amount_g": 50, "why": "deadline"})
    assert (asked.status_code, asked.json()["asked_by"], asked.json()["state"]) == (201, "user", "open")
    path = f"/budgets/requests/{asked.json()['id']}/approve"
    assert door.call("POST", path, token=user).status_code == 403
    approved = door.call("POST", path, json={"amount_g": 40}).json()
    assert (approved["state"], approved["granted_g"], approved["decided_by"]) == ("approved", 40, "admin")
    assert door.get("/budgets/nlp")["allowed_g"] == 140
    assert door.call("POST", path).status_code == 409
    assert door.get("/budgets/requests", params={"state": "open"}) == []
    assert door.call("POST", "/budgets/none/requests", json={"amount_g": 1, "why": "x"}).status_code == 404
    assert door.call("POST", "/budgets/requests/99/refuse").status_code == 404
    assert door.call("POST", "/budgets/nlp/requests", json={"amount_g": -1, "why": "x"}).status_code == 400


def test_budgets_hand_over_and_say_what_if(door: Door) -> None:
    budget(door, limit_g=100)
    budget(door, limit_g=10, id_="vision")
    moved = door.call("POST", "/budgets/nlp/transfers", json={"to": "vision", "amount_g": 60})
    assert [one["left_g"] for one in moved.json()] == [40, 70]
    refused = door.call("POST", "/budgets/nlp/transfers", json={"to": "vision", "amount_g": 60})
    assert (refused.status_code, refused.json()["reason"]) == (422, "budget_exhausted")
    assert door.call("POST", "/budgets/nlp/transfers", json={"to": "nlp", "amount_g": 1}).status_code == 409
    found = door.get("/budgets/nlp/what-if", params={"limit_pct": 80})
    assert (found["limit_g"], found["left_g"], found["held"]) == (80, pytest.approx(20), [])
    assert door.call("GET", "/budgets/nlp/what-if", params={"limit_pct": 0}).status_code == 400


def test_a_change_keeps_what_it_does_not_name_and_fits_together_or_is_refused(door: Door) -> None:
    body = {"id": "q", "scope": "organisation", "name": "all", "limit_g": 9, "period": "rolling", "days": 30}
    assert door.call("POST", "/budgets", json=body).status_code == 201
    changed = door.call("PATCH", "/budgets/q", json={"limit_g": 12, "timezone": "Europe/Berlin"}).json()
    assert (changed["budget"]["days"], changed["allowed_g"], changed["account"]) == (30, 12, "q-rolling")
    answer = door.call("PATCH", "/budgets/q", json={"period": "month"})
    assert answer.status_code == 400
    assert "days" in answer.json()["detail"]
    assert "no time zone" in door.call("PATCH", "/budgets/q", json={"timezone": "Mars/Olympus"}).json()["detail"]


@pytest.mark.parametrize("limit_g", ["1e999", "NaN", "0", "-5", "1e13"])
def test_a_limit_that_is_no_amount_is_refused(door: Door, limit_g: str) -> None:
    body = '{"id": "b", "scope": "organisation", "name": "all", "limit_g": ' + limit_g + "}"
    answer = door.call("POST", "/budgets", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert door.get("/budgets") == []


@pytest.fixture
def over_and_to_come(door: Door) -> Door:
    """A budget whose only period is over, one whose begins in a week, one that runs."""
    begin = door.world.now
    for id_, first, last in (("over", -48, -24), ("to-come", 24 * 7, 24 * 14), ("runs", -24, 24)):
        span = {"start": (begin + first * HOUR).isoformat(), "end": (begin + last * HOUR).isoformat()}
        body = {"id": id_, "scope": "organisation", "name": "all", "limit_g": 1e5, "period": "once", **span}
        assert door.call("POST", "/budgets", json=body).status_code == 201
    return door


def test_nothing_is_added_to_a_budget_that_is_over_and_what_is_left_of_it_can_be_handed_on(
    over_and_to_come: Door,
) -> None:
    door = over_and_to_come
    asked = door.call("POST", "/budgets/over/requests", json={"amount_g": 1, "why": "more"})
    handed = door.call("POST", "/budgets/runs/transfers", json={"to": "over", "amount_g": 1})
    for refused in (asked, handed, door.call("GET", "/budgets/over/what-if")):
        assert refused.status_code == 409
        assert "its period ended on 22 Nov 2026 00:00 UTC" in refused.json()["detail"]
    assert door.call("POST", "/budgets/over/transfers", json={"to": "runs", "amount_g": 1e5}).status_code == 201
    left = {one["budget"]["id"]: one["left_g"] for one in door.get("/budgets")}
    assert left == {"over": 0, "to-come": 1e5, "runs": 2e5}


def test_a_request_whose_budget_has_ended_since_is_not_approved(over_and_to_come: Door) -> None:
    door = over_and_to_come
    number = door.call("POST", "/budgets/runs/requests", json={"amount_g": 1, "why": "more"}).json()["id"]
    door.world.run(25 * HOUR, every=HOUR)
    assert door.call("POST", f"/budgets/requests/{number}/approve").status_code == 409
    assert door.call("POST", f"/budgets/requests/{number}/refuse").json()["state"] == "refused"


def test_what_if_does_not_claim_that_a_budget_outside_its_period_holds_anything(over_and_to_come: Door) -> None:
    door = over_and_to_come
    door.submit(team="nlp")
    refused = door.call("GET", "/budgets/to-come/what-if")
    assert refused.status_code == 409
    assert "its period begins on 30 Nov 2026 00:00 UTC" in refused.json()["detail"]
    assert door.get("/budgets/runs/what-if")["held"] == []


def test_a_limit_below_the_ledgers_unit_is_refused_for_it_would_be_nothing(door: Door) -> None:
    body = {"id": "dust", "scope": "organisation", "name": "all", "limit_g": 1e-7}
    assert door.call("POST", "/budgets", json=body).status_code == 400
    assert door.call("POST", "/budgets", json={**body, "limit_g": 1e-6}).status_code == 201
