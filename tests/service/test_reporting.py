"""The savings report of a server: no figure goes missing for good, and none depends on the period asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.service.reporting import Asked
from world import HOUR, START, World, make_world

Make = Callable[..., World]
BOTH = {"home": "aa", "any_of": ["aa", "bb"]}
AT_HOME = {"home": "aa", "any_of": ["aa"]}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    worlds: list[World] = []

    def build(zones: dict[str, list[float]]) -> World:
        worlds.append(make_world(tmp_path, zones))
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


def job(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "resources": {"gpus": 8}, "duration": "2h", "within": "20h", "regions": BOTH, **more}


def report(world: World, **period: datetime) -> Report:
    return asyncio.run(world.server.reporting.savings(Asked(**period)))


def test_a_baseline_that_ends_after_the_last_measurement_has_its_figure_once_that_time_has_passed(make: Make) -> None:
    world = make({"AA": [300.0] * 24, "BB": [290.0] * 24})
    records = [world.submit(**job("j0", within="2h40m"))]
    world.run(timedelta(minutes=3))
    records.append(world.submit(**job("j1", within="2h40m")))
    world.finish(*(record.id for record in records))
    assert world.now < START + 4 * HOUR
    early = next(line for line in report(world).jobs if line.id == records[1].id)
    assert early.carbon_g is None and early.baseline is None and early.provisional
    assert early.note.startswith("not yet: under run-now@1")
    world.run(6 * HOUR - (world.now - START), every=HOUR)
    found = report(world)
    assert found.totals.without_figures == 0
    assert not any(line.provisional for line in found.jobs)
    behind = next(line for line in found.jobs if line.id == records[1].id)
    assert behind.baseline_start == START + 2 * HOUR
    assert behind.baseline is not None
    assert behind.baseline.carbon_g == pytest.approx(8 * 0.4 * 2 * 300, rel=0.01)


def test_a_report_on_a_period_queues_the_jobs_before_it(make: Make) -> None:
    world = make({"AA": [400.0] * 2 + [100.0] * 22, "BB": [90.0] * 24})
    first = world.submit(**job("a", regions=AT_HOME))
    world.run(timedelta(minutes=30))
    second = world.submit(**job("b", duration="1h"))
    world.run(timedelta(minutes=30))
    third = world.submit(**job("c", duration="1h", earliest=(START + 90 * timedelta(minutes=1)).isoformat()))
    world.finish(first.id, second.id, third.id)
    world.run(6 * HOUR, every=HOUR)
    everything = {line.id: line for line in report(world).jobs}
    assert everything[second.id].baseline_start == START + 2 * HOUR, "the first holds all of home until then"
    edges = [record.submitted_at for record in (first, second, third)] + [world.now]
    for i, begin in enumerate(edges):
        for end in edges[i + 1 :]:
            some = report(world, start=begin, end=end).jobs
            assert list(some) == [line for line in everything.values() if begin <= line.submitted_at < end]


def test_a_month_that_began_before_anything_was_known_of_the_grid_has_its_figures(make: Make) -> None:
    world = make({"AA": [500.0] * 6 + [50.0] * 18})
    record = world.submit(**job("delayed", regions=AT_HOME, within="12h"))
    world.finish(record.id)
    world.run(6 * HOUR, every=HOUR)
    month = {"start": datetime(2026, 11, 1, tzinfo=UTC), "end": datetime(2026, 12, 1, tzinfo=UTC)}
    found = report(world, **month)
    assert found.totals.without_figures == 0
    assert found.jobs[0].saved_g == report(world).jobs[0].saved_g
    assert found.notes == report(world).notes


def test_what_is_known_of_a_span_counts_although_its_beginning_is_not(make: Make, tmp_path: Path) -> None:
    world = make({"AA": [300.0] * 24})
    path = tmp_path / "intensity" / "AA.csv"
    header, *rows = path.read_text().splitlines()
    known = [row for row in rows if not "2026-11-22T23" < row < "2026-11-23T06"]
    world.submit(**job("a", regions=AT_HOME, within="2h30m"))
    path.write_text("\n".join([header, *known]) + "\n")
    world.server.grid.use(world.server.sources.cascade(world.server.store.regions()))
    world.run(40 * HOUR, every=HOUR)
    late = world.submit(**job("c", regions=AT_HOME, within="2h30m"))
    world.finish(late.id)
    world.run(6 * HOUR, every=HOUR)
    (line,) = [line for line in report(world).jobs if line.id == late.id]
    assert line.carbon_g is not None, line.note


def test_an_interval_of_the_meter_that_began_before_the_first_submission_is_counted(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    world.run(HOUR)
    record = world.submit(**job("a", regions=AT_HOME, within="2h30m"))
    world.finish(record.id)
    energy_mj, begin = 6_000_000, record.submitted_at - timedelta(seconds=4)
    world.server.store.add_readings(
        Readings.of(
            [
                Reading(
                    agent_id="other",
                    stream_epoch="e1",
                    seq=1,
                    region="aa",
                    node="node",
                    source="simulated",
                    device_uuid="SIM-1",
                    start=begin,
                    end=begin + timedelta(seconds=10),
                    energy_mj=energy_mj,
                    idle_mj=0,
                    unattributed_mj=0,
                    quality="measured",
                    method="counter",
                    uncertainty_pct=5.0,
                    digest="1",
                    shares=(RunShare(world.job(record.id).state.runs[0].submission_id, record.id, energy_mj),),
                )
            ]
        ),
        at=world.now,
    )
    world.run(2 * HOUR, every=HOUR)
    (line,) = report(world).jobs
    assert line.note == "" and line.carbon_g is not None


def test_a_report_that_ends_before_the_first_submission_has_no_job(make: Make) -> None:
    world = make({"AA": [300.0] * 24, "BB": [290.0] * 24})
    record = world.submit(**job("j0"))
    for end in (record.submitted_at, record.submitted_at - HOUR):
        found = report(world, end=end)
        assert (found.jobs, found.start, found.end) == ((), end, end)
    assert len(report(world).jobs) == 1


def test_a_span_without_length_and_a_start_ahead_are_refused(make: Make) -> None:
    world = make({"AA": [300.0] * 24, "BB": [290.0] * 24})
    with pytest.raises(BadInput, match="is not later than start"):
        report(world, start=START, end=START)
    for ahead in (START + HOUR, datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(BadInput, match="lies ahead"):
            report(world, start=ahead)
    assert report(world, start=START + HOUR, end=START + 2 * HOUR).jobs == ()
