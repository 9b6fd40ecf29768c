"""Contracts for clean energy over REST: who may change them, and what is refused."""

from __future__ import annotations

from .conftest import Door

SUPPLY = {
    "id": "ppa",
    "region": "aa",
    "start": "2026-11-23T00:00:00Z",
    "end": "2026-11-23T03:00:00Z",
    "wh": [1000, 0, 5000],
}


def test_an_admin_adds_a_contract_and_everyone_sees_what_it_comes_to(door: Door) -> None:
    assert door.call("POST", "/clean-supply", json=SUPPLY).status_code == 201
    user = door.token("user")
    (seen,) = door.get("/clean-supply", token=user)
    assert (seen["id"], seen["hourly"], seen["mwh"]) == ("ppa", True, 0.006)
    assert "wh" not in seen, "a year of hours is not what a list is for"
    for method, path in (("POST", "/clean-supply"), ("DELETE", "/clean-supply/ppa"), ("POST", "/residual-mixes")):
        assert door.call(method, path, token=user, json=SUPPLY).status_code == 403


def test_a_contract_of_the_same_id_takes_the_place_of_the_one_before(door: Door) -> None:
    door.call("POST", "/clean-supply", json=SUPPLY)
    door.call("POST", "/clean-supply", json={**SUPPLY, "wh": [9000]})
    (seen,) = door.get("/clean-supply")
    assert (seen["hourly"], seen["mwh"]) == (False, 0.009)


def test_what_is_no_contract_is_refused_in_one_line(door: Door) -> None:
    for change, said in (
        ({"region": "nowhere"}, "no region 'nowhere'; there are aa"),
        ({"wh": [1, 2]}, "one for each of the 3 hours"),
        ({"start": "2026-11-23T00:30:00Z"}, "not a full hour"),
        ({"end": "2036-11-23T03:00:00Z"}, "three years at most"),
    ):
        answer = door.call("POST", "/clean-supply", json={**SUPPLY, **change})
        assert answer.status_code in (400, 404) and said in answer.json()["detail"]
