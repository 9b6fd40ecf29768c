"""GET jobs/{id}/advice: from the readings of single GPUs to ranked levers, and to what the next run really saved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.region import Region
from world import HOUR

from .conftest import Door

ZONES = {"AA": [400.0] * 24, "BB": [100.0] * 24}


@pytest.fixture
def measured(open_door: Callable[..., Door]) -> Door:
    """A door to a server with H100s, whose energy the test reports."""
    door = open_door(zones=ZONES)
    door.world.report = False
    for name in ("aa", "bb"):
        door.world.server.store.put_region(
            Region(
                name=name, zone=name.upper(), address="http://127.0.0.1:1", capacity_gpus=8, pue=1.0, gpu_type="H100"
            )
        )
    return door


def advice(door: Door, job_id: str, **query: str) -> Any:
    """The answer, with the control loop running: it is made on its loop."""
    with door.client:
        return door.get(f"/jobs/{job_id}/advice", params=query)


def report(door: Door, job_id: str, *gpus_w: float, agent: str) -> None:
    """What each GPU of the job's run drew, a minute a reading, and an hour in which nobody held them."""
    world = door.world
    (run,) = world.job(job_id).state.runs
    assert run.started_at is not None and run.ended_at is not None
    rows: list[Reading] = []
    for device, watts in enumerate(gpus_w):
        for minute in range(-60, (run.ended_at - run.started_at) // timedelta(minutes=1)):
            start, held = run.started_at + minute * timedelta(minutes=1), minute >= 0
            energy_mj = round((watts if held else 70.0) * 60_000)
            rows.append(
                Reading(
                    agent_id=agent,
                    stream_epoch="e1",
                    seq=len(rows) + 1,
                    region=run.region,
                    node="node",
                    source="nvml",
                    device_uuid=f"GPU-{device}",
                    start=start,
                    end=start + timedelta(minutes=1),
                    energy_mj=energy_mj,
                    idle_mj=0 if held else energy_mj,
                    unattributed_mj=0,
                    quality="measured",
                    method="counter",
                    uncertainty_pct=5.0,
                    digest="d",
                    shares=(RunShare(run.submission_id, job_id, energy_mj),) if held else (),
                )
            )
    world.server.store.add_readings(Readings.of(rows), at=world.now)


def ran(door: Door, *gpus_w: float, agent: str, **changes: Any) -> str:
    asked = {"within": "4h", "resources": {"gpus": 2}, "regions": {"home": "aa", "any_of": ["aa"]}, **changes}
    job_id = str(door.submit(**asked)["id"])
    door.world.finish(job_id)
    report(door, job_id, *gpus_w, agent=agent)
    return job_id


def test_a_job_is_advised_by_what_its_gpus_drew(measured: Door) -> None:
    job_id = ran(measured, 650.0, 600.0, agent="one")
    measured.world.run(4 * HOUR, every=HOUR)
    found = advice(measured, job_id)
    assert found["gpu"].startswith("NVIDIA H100")
    assert found["energy_kwh"] == pytest.approx(2.5, rel=0.02)
    assert found["carbon_g"] == pytest.approx(400 * found["energy_kwh"])
    assert [lever["kind"] for lever in found["levers"]] == ["more-regions", "power-cap"]
    wider, cap = found["levers"]
    assert wider["carbon_g"]["high"] == pytest.approx(300 * found["energy_kwh"], rel=0.02)
    assert "500 W" in cap["what"]
    assert {one["kind"] for one in found["silent"]} >= {"less-idle", "even-load", "another-size"}
    assert found["outcome"] is None


def test_the_next_run_under_a_limit_shows_what_that_saved(measured: Door) -> None:
    first = ran(measured, 650.0, 600.0, agent="one")
    second = ran(measured, 500.0, 500.0, agent="two")
    outcome = advice(measured, first, compare=second)["outcome"]
    (cap,) = outcome["applied"]
    assert cap["kind"] == "power-cap"
    assert cap["energy_kwh"]["mid"] > 0
    assert cap["measured_kwh"] == pytest.approx(0.5, rel=0.05)
    assert outcome["saved_pct"] == pytest.approx(20, rel=0.05)


def test_a_job_that_was_not_measured_gets_no_levers(measured: Door) -> None:
    job_id = str(measured.submit(within="20h")["id"])
    found = advice(measured, job_id)
    assert found["levers"] == []
    assert found["energy_kwh"] is None and found["carbon_g"] is None


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [({"compare": "x"}, 404, "x"), ({"applied": "prayer"}, 400, "applied"), ({"work": 0}, 400, "work")],
)
def test_what_cannot_be_compared_is_a_problem_of_one_line(
    measured: Door, query: dict[str, Any], status: int, says: str
) -> None:
    job_id = str(measured.submit(within="20h")["id"])
    with measured.client:
        answer = measured.call("GET", f"/jobs/{job_id}/advice", params=query)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_an_agent_may_not_ask(measured: Door) -> None:
    job_id = str(measured.submit(within="20h")["id"])
    assert measured.call("GET", f"/jobs/{job_id}/advice", token=measured.token("agent")).status_code == 403
