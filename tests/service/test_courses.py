"""Reports are the same whether they read a job's readings or what is kept of them once it has ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.core.course import to_us
from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.service.courses import courses_of, keep_courses
from world import HOUR, World, make_world

CHECKPOINT = {"path": "/ckpt", "restart": "6m", "period": "10m"}
GPUS = 4
STEP = timedelta(seconds=30)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = make_world(tmp_path, {"AA": [400.0, 90.0, 400.0, 400.0, 80.0, 300.0] * 4, "BB": [500.0] * 24})
    world.report = False
    yield world
    world.close()


def finished(world: World, name: str) -> JobRecord:
    """A job with several runs that has ended, without any reading of it."""
    job = {
        "name": name,
        "resources": {"gpus": GPUS},
        "duration": "2h",
        "within": "20h",
        "regions": {"home": "aa", "any_of": ["aa"]},
        "checkpoint": CHECKPOINT,
    }
    record = world.submit(**job)
    world.finish(record.id)
    return world.job(record.id)


def measured(record: JobRecord, *, agent: str = "a") -> list[Reading]:
    """A reading per GPU and half minute of its runs, at whatever phase, with a power that changes."""
    rng = random.Random(record.id)
    found: list[Reading] = []
    for run in record.state.runs:
        assert run.started_at is not None and run.ended_at is not None
        begin = run.started_at
        while begin < run.ended_at:
            end = min(begin + STEP, run.ended_at)
            for device in range(GPUS):
                energy_mj = round(rng.uniform(50, 700) * 1000 * (end - begin).total_seconds())
                found.append(
                    Reading(
                        agent_id=agent,
                        stream_epoch=f"e-{record.id}",
                        seq=len(found) + 1,
                        region=run.region,
                        node="node",
                        source="nvml",
                        device_uuid=f"GPU-{device}",
                        start=begin,
                        end=end,
                        energy_mj=energy_mj,
                        idle_mj=0,
                        unattributed_mj=0,
                        quality="estimated" if rng.random() < 0.02 else "measured",
                        method="counter",
                        uncertainty_pct=rng.choice((5.0, 2.0)),
                        digest=str(len(found)),
                        shares=(RunShare(run.submission_id, record.id, energy_mj),),
                    )
                )
            begin = end
    return found


def report(world: World) -> Report:
    return asyncio.run(world.server.reporting.savings())


def keep(world: World) -> None:
    asyncio.run(keep_courses(world.server.store, now=world.now))


def test_a_report_is_the_same_to_the_last_digit_before_and_after_courses_are_kept(world: World) -> None:
    records = [finished(world, f"j{n}") for n in range(3)]
    assert any(len(record.state.runs) > 1 for record in records)
    for record in records:
        world.server.store.add_readings(Readings.of(measured(record)), at=world.now)
    world.run(30 * HOUR, every=HOUR)
    before = report(world)
    keep(world)
    kept = world.server.store.kept_courses(record.id for record in records)
    assert kept.keys() == {record.id for record in records}
    assert report(world).jobs == before.jobs
    assert all(line.saved_g is not None for line in before.jobs)


def test_carbon_and_energy_of_a_report_are_those_of_the_books_and_of_the_readings(world: World) -> None:
    record = finished(world, "j")
    world.server.store.add_readings(Readings.of(measured(record)), at=world.now)
    world.run(30 * HOUR, every=HOUR)
    keep(world)
    (line,) = report(world).jobs
    sums = {one.quantity.value: one.tally.value for one in world.server.store.tallies()}
    assert line.carbon_g == pytest.approx(sums["carbon_ug"] / 1e6, abs=0.51e-6), "the books have whole micrograms"
    energy_mj = sum(one.energy_mj for one in measured(record))
    assert world.server.store.kept_courses([record.id])[record.id].energy_mj.sum() == energy_mj
    assert line.energy_kwh is not None
    pue = world.server.store.regions()[0].pue
    assert line.energy_kwh == pytest.approx(energy_mj / 3.6e9 * pue, rel=1e-12)


def test_half_minutes_of_four_gpus_are_kept_as_a_twentieth_of_their_rows(world: World) -> None:
    record = finished(world, "j")
    some = [one._replace(quality="measured") for one in measured(record)]
    world.server.store.add_readings(Readings.of(some), at=world.now)
    world.run(2 * HOUR)
    keep(world)
    assert len(world.server.store.kept_courses([record.id])[record.id]) < len(some) / 20


def test_late_readings_of_a_job_whose_course_is_kept_are_in_the_next_report(world: World) -> None:
    record = finished(world, "j")
    some = measured(record)
    world.server.store.add_readings(Readings.of(some[: len(some) // 2]), at=world.now)
    world.run(20 * HOUR, every=HOUR)
    keep(world)
    assert world.server.store.kept_courses([record.id])
    half = report(world).jobs[0].energy_kwh
    world.server.store.add_readings(Readings.of(some), at=world.now)
    assert world.server.store.kept_courses([record.id]) == {}
    late = report(world).jobs[0]
    assert half is not None and late.energy_kwh is not None
    assert late.energy_kwh > 1.5 * half
    keep(world)
    assert report(world).jobs[0] == late


def test_a_job_that_ended_just_now_or_has_readings_ahead_of_our_clock_is_not_kept_yet(world: World) -> None:
    record = finished(world, "j")
    ahead = measured(record)
    ahead[-1] = ahead[-1]._replace(end=world.now + 3 * HOUR)
    world.server.store.add_readings(Readings.of(ahead), at=world.now)
    keep(world)
    assert world.server.store.kept_courses([record.id]) == {}
    world.run(2 * HOUR)
    keep(world)
    assert world.server.store.kept_courses([record.id]) == {}
    (course,) = courses_of(world.server.store, [record], now=world.now)
    assert int(course.end_us.max()) <= to_us(world.now)
    world.run(2 * HOUR)
    keep(world)
    assert record.id in world.server.store.kept_courses([record.id])
