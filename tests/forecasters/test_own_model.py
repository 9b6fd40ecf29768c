"""Our own model as a source: fed by a provider's history, bridging its outages, never keeping anybody waiting."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from forecasters.grids import made_up
from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.models.hours import hour_start
from kilowait_forecasters.profiles import TypicalDays
from kilowait_forecasters.providers.base import ended
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.surroundings import REMEMBERED
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Signal
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)
NOW = datetime(2024, 2, 1, 9, 20, tzinfo=UTC)


@dataclass
class Past:
    """A provider that knows the past of DE, `sold` of it, and forecasts `ahead_h` hours; `asked` are its spans."""

    signal: Signal = AVERAGE_LIFECYCLE
    name: str = "past"
    sold: timedelta = timedelta(days=500)
    ahead_h: int = 0
    down: ForecastersError | None = None
    held: asyncio.Event | None = None
    asked: list[timedelta] = field(default_factory=list)

    def zones(self) -> frozenset[str] | None:
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        if self.down is not None or not self.ahead_h:
            raise self.down or Permanent(f"{self.name}: no forecast in this plan")
        series = self._series([slot for slot in SLOTS if now < slot.end <= now + self.ahead_h * HOUR])
        parts = (Part(series.start, self.name),)
        return Forecast(zone=DE, signal=self.signal, issued_at=now, available_at=now, series=series, parts=parts)

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        self.asked.append(now - start)
        if self.held is not None:
            await self.held.wait()
        if self.down is not None:
            raise self.down
        if now - start > self.sold:
            raise Permanent(f"{self.name}: plan")
        return self._series(ended(SLOTS, start=start, end=end, now=now))

    def _series(self, slots: list[Slot]) -> IntensitySeries:
        return IntensitySeries(zone=DE, signal=self.signal, source=self.name, slots=slots)


GRID = made_up(60)
SLOTS = [
    Slot(hour_start(GRID.first + i), hour_start(GRID.first + i + 1), value)
    for i, value in enumerate(GRID.g_per_kwh.tolist())
]


async def test_a_zone_whose_provider_does_not_forecast_gets_our_own_with_band_and_source() -> None:
    source = Past()
    answer = await Cascade({"DE": [source]}, last_resorts=[OwnForecasts({"DE": source}, wait_s=60)]).forecast(
        DE, now=NOW, until=NOW + 90 * HOUR
    )
    found = answer.forecast
    assert found.source == "own-model"
    assert found.series.covers(NOW, NOW + 90 * HOUR)
    assert found.low is not None
    assert found.high is not None
    assert found.low.at(NOW) < found.series.at(NOW) < found.high.at(NOW)
    assert found.issued_at == NOW.replace(minute=0)
    assert found.parts[0].note.startswith("from past: ")
    assert found.series.slot_at(NOW).estimated


async def test_it_goes_on_where_the_provider_ends_and_typical_days_only_after_that() -> None:
    source = Past(ahead_h=24)
    resorts = [OwnForecasts({"DE": source}, wait_s=60), TypicalDays()]
    answer = await Cascade({"DE": [source]}, last_resorts=resorts).forecast(DE, now=NOW, until=NOW + 120 * HOUR)
    assert answer.forecast.source == "past+own-model+typical-day"
    starts = {part.source: part.start for part in answer.forecast.parts}
    assert starts["own-model"] == NOW.replace(minute=0) + 24 * HOUR
    assert starts["typical-day"] == NOW.replace(minute=0) + 96 * HOUR


async def test_an_outage_is_bridged_from_what_is_known_and_the_age_of_the_last_value_told() -> None:
    source = Past()
    own = OwnForecasts({"DE": source}, wait_s=60)
    await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)
    source.down = Transient("past: down")
    later = NOW + 30 * HOUR
    found = await own.forecast(DE, now=later, until=later + 24 * HOUR)
    assert found.issued_at == later.replace(minute=0)
    assert "its last value was 30 h old" in found.parts[0].note


async def test_past_the_longest_outage_the_earlier_forecast_stands_while_it_holds_now_and_then_none() -> None:
    source = Past()
    own = OwnForecasts({"DE": source}, wait_s=60)
    first = await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)
    source.down = Transient("past: down")
    old = await own.forecast(DE, now=NOW + 80 * HOUR, until=NOW + 90 * HOUR)
    assert old.issued_at == first.issued_at
    with pytest.raises(Transient, match="at most 72 h"):
        await own.forecast(DE, now=NOW + 100 * HOUR, until=NOW + 110 * HOUR)


async def test_the_past_is_asked_for_once_an_hour_and_then_only_for_what_is_new() -> None:
    source = Past()
    own = OwnForecasts({"DE": source}, wait_s=60)
    for minutes in (0, 5, 30, 50):
        await own.forecast(DE, now=NOW + timedelta(minutes=minutes), until=NOW + 24 * HOUR)
    assert source.asked == [REMEMBERED, timedelta(days=1, minutes=70)]


async def test_a_plan_that_sells_a_short_past_is_asked_for_less() -> None:
    source = Past(sold=timedelta(days=12))
    own = OwnForecasts({"DE": source}, wait_s=60)
    await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)
    assert source.asked == [REMEMBERED, timedelta(days=365), timedelta(days=90), timedelta(days=10)]


async def test_nobody_waits_for_it_to_learn() -> None:
    source = Past(held=asyncio.Event())
    own = OwnForecasts({"DE": source}, wait_s=0)
    with pytest.raises(Transient, match="still learning"):
        await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)
    source.held.set()
    own.wait_s = 60
    assert (await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)).series.covers(NOW, NOW + 24 * HOUR)


async def test_a_question_about_an_earlier_hour_costs_neither_the_present_forecast_nor_another_request() -> None:
    past = Past()
    own = OwnForecasts({"DE": past}, wait_s=60)
    present = await own.forecast(DE, now=NOW, until=NOW + 12 * HOUR)
    asked = len(past.asked)
    earlier = await own.forecast(DE, now=NOW - 3 * HOUR, until=NOW)
    again = await own.forecast(DE, now=NOW + timedelta(minutes=5), until=NOW + 12 * HOUR)
    assert earlier.issued_at < present.issued_at == again.issued_at
    assert len(past.asked) == asked


async def test_a_source_that_is_down_from_the_start_is_named() -> None:
    own = OwnForecasts({"DE": Past(down=Transient("past: down"))}, wait_s=60)
    with pytest.raises(Transient, match="past: down"):
        await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)


async def test_an_error_of_learning_that_nobody_waited_for_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    source = Past(held=asyncio.Event(), down=Transient("past: down"))
    own = OwnForecasts({"DE": source}, wait_s=0)
    with pytest.raises(Transient, match="still learning"):
        await own.forecast(DE, now=NOW, until=NOW + 24 * HOUR)
    source.held.set()
    (learning,) = own._tasks.values()
    await asyncio.wait({learning})
    del learning, own
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_sources_of_two_signals_are_refused() -> None:
    with pytest.raises(Refused, match="one signal"):
        OwnForecasts({"DE": Past(), "FR": Past(signal=AVERAGE_DIRECT)})
