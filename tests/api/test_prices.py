"""Carbon prices over REST: every plan and report shows carbon and money, and a price moves what waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from kilowait_scheduler.reports.render import to_csv, to_html, to_json
from world import HOUR

from .conftest import Door

EUR = {"currency": "EUR"}
ENERGY_KWH = 4 * 0.4 * 2  # 4 GPUs at 400 W for 2 h


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    """Two regions: aa clean and dear, bb dirty and cheap."""
    door = open_door(zones={"AA": [100.0] * 24, "BB": [300.0] * 24})
    for region in door.get("/regions"):
        per_kwh = {"aa": "0.25", "bb": "0.05"}[region["name"]]
        door.call("PATCH", f"/regions/{region['name']}", json={"tariff": {"per_kwh": per_kwh, **EUR}})
    return door


def price(door: Door, amount: str, **more: Any) -> Any:
    return door.call("POST", "/carbon-prices", json={"id": "p", "amount_per_t": amount, **EUR, **more})


def plan(door: Door, **changes: Any) -> Any:
    where = {"home": "aa", "any_of": ["aa", "bb"]}
    body = {
        "name": "t",
        "entrypoint": "x",
        "resources": {"gpus": 4},
        "duration": "2h",
        "within": "24h",
        "regions": where,
    }
    answer = door.call("POST", "/plans", json={**body, "within": "24h", **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_plan_shows_what_carbon_and_electricity_cost(door: Door) -> None:
    assert plan(door)["carbon_cost"] is None
    assert price(door, "1100").status_code == 201
    planned = plan(door)
    assert planned["windows"][0]["region"] == "aa"
    assert planned["carbon_cost"] == {"amount": "0.352000", "currency": "EUR"}
    assert Decimal(planned["energy_cost"]["amount"]) == Decimal(repr(ENERGY_KWH)) * Decimal("0.25")
    assert planned["run_now_carbon_cost"]["currency"] == "EUR"


def test_a_price_moves_the_plans_of_its_own_project_only(door: Door) -> None:
    assert price(door, "100", project="chat").status_code == 201
    assert plan(door, project="chat")["windows"][0]["region"] == "bb"
    assert plan(door, project="search")["windows"][0]["region"] == "aa"
    assert door.call("DELETE", "/carbon-prices/p").status_code == 204
    assert door.call("DELETE", "/carbon-prices/p").status_code == 404
    assert plan(door, project="chat")["windows"][0]["region"] == "aa"


def test_the_report_counts_money_beside_carbon(door: Door) -> None:
    price(door, "1100")
    job = door.submit(within="4h", regions={"home": "aa", "any_of": ["aa", "bb"]})
    door.world.finish(job["id"])
    door.world.run(2 * HOUR)
    made = asyncio.run(door.world.server.reporting.savings())
    report = json.loads(to_json(made))
    (line,) = report["jobs"]
    assert Decimal(line["carbon_cost"]["amount"]) == pytest.approx(Decimal("0.352"), rel=Decimal("0.01"))
    assert report["totals"]["carbon_cost"] == [line["carbon_cost"]]
    assert report["totals"]["energy_cost"] == [line["energy_cost"]]
    text = to_csv(made)
    assert f",{line['energy_cost']['amount']},EUR,{line['carbon_cost']['amount']},EUR," in text
    page = to_html(made)
    assert "0.35 EUR" in page and "0.80 EUR" in page


def test_a_price_that_is_none_is_refused_in_one_line(door: Door) -> None:
    answer = price(door, "-5")
    assert answer.status_code == 400
    assert "amount_per_t" in answer.json()["detail"]
    assert door.call("POST", "/carbon-prices", token=door.token("user"), json={}).status_code == 403
