"""The forecasts a server used are held against what came, and the error is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.providers.base import ended, hours
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.api.shapes import forecast_shape
from world import HOUR, START, World, make_world


class Optimist:
    """A provider that forecasts a tenth less than comes."""

    name = "optimist"
    signal = AVERAGE_LIFECYCLE

    def __init__(self) -> None:
        self.asked_for_past = 0

    def zones(self) -> None:
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        series = self._series(zone, [Slot(a, b, 0.9 * self.truth(a)) for a, b in hours(now, now + 48 * HOUR)])
        parts = (Part(series.start, self.name),)
        return Forecast(zone=zone, signal=self.signal, issued_at=now, available_at=now, series=series, parts=parts)

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        self.asked_for_past += 1
        slots = (Slot(a, b, self.truth(a)) for a, b in hours(start, end))
        return self._series(zone, ended(slots, start=start, end=end, now=now))

    def truth(self, moment: datetime) -> float:
        """Twice as much on odd days as on even ones."""
        return 200.0 * (1 + (moment - START).days % 2)

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path, {"DE": [300.0] * 24})
    yield made
    made.close()


def test_after_a_day_the_error_of_the_forecasts_used_is_shown_beside_that_of_yesterday_repeated(world: World) -> None:
    optimist, grid = Optimist(), world.server.grid
    grid.use(Cascade({"DE": [optimist]}))

    async def live() -> None:
        for hour in range(30):
            now = START + timedelta(hours=hour)
            await grid.refresh(["DE"], now=now, until=now + 24 * HOUR)
            await grid.judged()
            if hour < 24:
                assert grid.view("DE").skill is None

    asyncio.run(live())
    skill = grid.view("DE").skill
    assert skill is not None
    assert skill.error_pct == pytest.approx(10)
    assert 50 <= skill.persistence_pct <= 100
    assert optimist.asked_for_past == 1, "once a day"
    shown = forecast_shape(grid.view("DE"), now=START + 30 * HOUR)
    assert shown["skill"]["error_pct"] == skill.error_pct


def test_a_source_that_is_slow_about_the_past_holds_no_round_up(world: World) -> None:
    class Slow(Optimist):
        async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
            await answered.wait()
            return await super().history(zone, start=start, end=end, now=now)

    answered, grid = asyncio.Event(), world.server.grid
    grid.use(Cascade({"DE": [Slow()]}))

    async def live() -> None:
        for hour in range(30):
            now = START + timedelta(hours=hour)
            await grid.refresh(["DE"], now=now, until=now + 24 * HOUR)
        assert grid.view("DE").skill is None
        answered.set()
        await grid.judged()
        assert grid.view("DE").skill is not None

    asyncio.run(live())
