"""Providers that fail, lie or know nothing: deadlines hold, every number says what it is, and nothing becomes zero."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.errors import Permanent, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.profiles import TypicalDays
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.state import Phase
from world import HOUR, World, make_world

JOB = {"name": "train", "resources": {"gpus": 4}, "duration": "2h", "within": "20h"}


class Broken:
    """A provider that raises what it is told to."""

    name = "broken"
    signal = AVERAGE_LIFECYCLE

    def __init__(self, error: Exception) -> None:
        self.error = error

    def zones(self) -> None:
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        raise self.error

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> NoReturn:
        raise self.error


class Lying(Broken):
    """A provider that answers every hour with the same value, for as long as `hours`."""

    def __init__(self, value: float, *, hours: int = 200) -> None:
        super().__init__(Transient("no history"))
        self.value, self.hours = value, hours

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        first = now.replace(minute=0, second=0, microsecond=0)
        slots = [Slot(first + HOUR * i, first + HOUR * (i + 1), self.value) for i in range(self.hours)]
        series = IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)
        return Forecast(
            zone=zone,
            signal=self.signal,
            issued_at=now,
            available_at=now,
            series=series,
            parts=(Part(series.start, self.name),),
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path, {"DE": [300.0] * 24})
    yield made
    made.close()


def rely_on(world: World, provider: Broken, *, typical_days: bool = True) -> None:
    resorts = [TypicalDays()] if typical_days else []
    world.server.grid.use(Cascade({"DE": [provider]}, last_resorts=resorts))


@pytest.mark.parametrize(
    "provider",
    [Broken(Transient("down")), Broken(Permanent("wrong key")), Lying(-50.0), Lying(99_999.0)],
    ids=["down", "unauthorised", "negative", "kilograms"],
)
def test_a_typical_day_stands_in_and_says_so(world: World, provider: Broken) -> None:
    rely_on(world, provider)
    record = world.submit(**JOB)
    view = world.server.grid.view("DE")
    assert view.forecast is not None and view.forecast.source == "typical-day"
    assert "not a forecast" in view.forecast.parts[0].note
    assert any(attempt.error for attempt in view.attempts)
    world.finish(record.id)
    assert world.job(record.id).state.finished_at <= record.spec.due
    line = asyncio.run(world.server.reporting.savings()).jobs[0]
    assert line.carbon_g > 0 and line.provisional and line.estimated_pct == pytest.approx(100)


def test_a_forecast_that_ends_before_the_deadline_is_continued_and_marked(world: World) -> None:
    rely_on(world, Lying(900.0, hours=4))
    record = world.submit(**JOB)
    forecast = world.server.grid.view("DE").forecast
    assert forecast is not None
    assert [part.source for part in forecast.parts] == ["broken", "typical-day"]
    world.finish(record.id)
    assert world.job(record.id).state.runs[0].started_at > record.submitted_at + 4 * HOUR, (
        "the typical hours are cleaner"
    )
    assert world.job(record.id).state.finished_at <= record.spec.due


def test_with_nothing_known_at_all_jobs_still_run_and_figures_are_missing_not_zero(world: World) -> None:
    rely_on(world, Broken(Transient("down")), typical_days=False)
    record = world.submit(**JOB)
    assert "intensity unknown" in world.server.jobs.propose(record.spec).decision.detail
    world.finish(record.id)
    state = world.job(record.id).state
    assert state.phase is Phase.SUCCEEDED and state.finished_at <= record.spec.due
    line = asyncio.run(world.server.reporting.savings()).jobs[0]
    assert line.carbon_g is None and line.saved_g is None and line.baseline is None
    assert "no figure yet" in line.note


def test_an_inverted_forecast_costs_carbon_but_no_deadline(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"AA": [400.0] * 8 + [100.0] * 4 + [400.0] * 12})
    records = [world.submit(**{**JOB, "name": f"j{i}", "within": f"{6 + 5 * i}h"}) for i in range(3)]
    world.finish(*(record.id for record in records), within=timedelta(days=2))
    assert all(world.job(r.id).state.finished_at <= r.spec.due for r in records)
    world.close()
