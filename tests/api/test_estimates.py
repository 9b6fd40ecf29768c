"""POST /estimates: the same answer as the command's, for the regions there are and on their forecasts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from kilowait_scheduler.core.energy import Reading, Readings, RunShare

from .conftest import Door

# Clean at night of the recording, in a zone that has a typical day too.
ZONES = {"DE": [400.0] * 8 + [100.0] * 4 + [400.0] * 12}
SMALL = {"gpu": "A100", "gpu_hours": 8, "gpus": 4}


def test_an_estimate_is_made_for_the_regions_there_are(open_door: Callable[..., Door]) -> None:
    door = open_door(zones=ZONES)
    found = door.call("POST", "/estimates", json={**SMALL, "region": "de"})
    assert found.status_code == 200, found.text
    answer = found.json()
    (region,) = answer["regions"]
    assert (region["region"], region["zone"]) == ("de", "DE")
    assert answer["carbon_t"] == region["carbon_t"]
    assert region["pue"]["low"] == region["pue"]["high"]
    assert len(region["months"]) == 12
    assert door.get("/jobs")["jobs"] == [], "nothing was stored"


def test_the_best_window_is_looked_for_on_the_region_s_forecast(open_door: Callable[..., Door]) -> None:
    door = open_door(zones=ZONES)
    answer = door.call("POST", "/estimates", json={**SMALL, "region": "de", "within": "20h"}).json()
    window = answer["best_window"]
    assert window["intensity_g_per_kwh"] == pytest.approx(100)
    assert window["now_intensity_g_per_kwh"] == pytest.approx(400)
    assert window["saved_pct"] == pytest.approx(75)
    assert window["source"].startswith("replay")


def test_a_zone_without_a_region_is_answered_from_its_typical_day(open_door: Callable[..., Door]) -> None:
    door = open_door(zones=ZONES)
    answer = door.call("POST", "/estimates", json={**SMALL, "zone": "SE"}).json()
    assert answer["zone"] == "SE"
    assert answer["best_window"]["source"] == "typical-day: typical day of that month, not a forecast"


def test_a_region_without_a_typical_day_is_named_as_missing(door: Door) -> None:
    answer = door.call("POST", "/estimates", json={**SMALL, "intensity_g_per_kwh": 50}).json()
    assert "no typical day, so not in the comparison: aa (AA)" in answer["notes"]
    assert len(answer["regions"]) > 1, "the zones that are known stand in"


def test_the_published_figures_come_out(door: Door) -> None:
    asked: dict[str, Any] = {"gpu": "RTX 8000", "params": 175e9, "tokens": 300e9, "tflops": 15}
    answer = door.call("POST", "/estimates", json=asked).json()
    assert answer["years_on_one_gpu"] == pytest.approx(665.9, abs=0.1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"gpu": "A100"}, "`gpu_hours`"),
        ({"gpu": "A1000", "flops": 1e20}, "close to it: "),
        ({**SMALL, "flops": 1e20}, "`flops` and `gpu_hours` both"),
        ({**SMALL, "region": "mars"}, "there are: none"),
        ({**SMALL, "gpuss": 3}, "did you mean 'gpus'?"),
        ({"flops": 1e20}, "`gpu`: missing"),
    ],
)
def test_bad_input_is_a_problem_of_one_line(door: Door, body: dict[str, Any], says: str) -> None:
    answer = door.call("POST", "/estimates", json=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert len(answer.json()["detail"].splitlines()) == 1


def test_an_agent_may_not_ask_and_the_schema_knows_the_route(door: Door) -> None:
    assert door.call("POST", "/estimates", json=SMALL, token=door.token("agent")).status_code == 403
    assert "post" in door.client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/estimates"]


def test_power_is_what_past_jobs_on_that_gpu_drew_and_carbon_has_its_price(open_door: Callable[..., Door]) -> None:
    door = open_door(zones=ZONES)
    world = door.world
    world.report = False
    store = world.server.store
    store.put_region(store.regions()[0].model_copy(update={"gpu_type": "A100"}))
    asked = {**SMALL, "region": "de"}
    guess = door.call("POST", "/estimates", json=asked).json()
    ran = door.submit(name="bert", regions={"home": "de", "any_of": ["de"]})["id"]
    world.finish(ran)
    (run,) = world.job(ran).state.runs
    assert run.started_at is not None and run.ended_at is not None
    energy_mj = round(4 * 250_000 * (run.ended_at - run.started_at).total_seconds())
    store.add_readings(
        Readings.of([reading(ran, run.submission_id, run.started_at, run.ended_at, energy_mj)]), at=world.now
    )
    price = {"id": "own", "amount_per_t": "100", "currency": "EUR"}
    assert door.call("POST", "/carbon-prices", json=price).status_code == 201
    found = door.call("POST", "/estimates", json={**asked, "like": "bert"}).json()
    power = next(one for one in found["assumptions"] if one["name"] == "power per GPU")
    assert power["mid"] == pytest.approx(250, rel=0.01)
    assert power["source"] == "measured: jobs named 'bert' on A100 SXM4 80GB, 1 jobs, 8 GPU-hours"
    assert found["energy_mwh"] == pytest.approx(guess["energy_mwh"] * 250 / 300, rel=0.01)
    assert guess["carbon_money"] is None
    assert found["carbon_money"]["currency"] == "EUR"
    assert found["carbon_money"]["mid"] == pytest.approx(100 * found["carbon_t"]["mid"], abs=0.005)
    assert any(one["name"] == "carbon price" and "'own'" in one["source"] for one in found["assumptions"])
    other = door.call("POST", "/estimates", json={**asked, "like": "unheard-of"}).json()
    power = next(one for one in other["assumptions"] if one["name"] == "power per GPU")
    assert "A100 SXM4 80GB on this server" in power["source"], "the type stands in for the name"
    simulated = door.call("POST", "/estimates", json={**asked, "gpu": "H100"}).json()
    assert not any(one["name"] == "power per GPU" for one in simulated["assumptions"]), "nobody ran on one"


def reading(job_id: str, run_id: str, start: datetime, end: datetime, energy_mj: int) -> Reading:
    return Reading(
        agent_id="agent",
        stream_epoch="e1",
        seq=1,
        region="de",
        node="node",
        source="nvml",
        device_uuid="GPU-0",
        start=start,
        end=end,
        energy_mj=energy_mj,
        idle_mj=0,
        unattributed_mj=0,
        quality="measured",
        method="counter",
        uncertainty_pct=5.0,
        digest="d",
        shares=(RunShare(run_id, job_id, energy_mj),),
    )
