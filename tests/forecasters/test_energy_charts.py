"""Energy-Charts: runs of nulls, both arrays null, short publications, and shapes nobody documented."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import QUARTER, FakeGrid, Question, Reply, hour_of, truth
from kilowait_forecasters.errors import Permanent, Transient
from kilowait_forecasters.models.hours import hour_number
from kilowait_forecasters.providers.energy_charts import EnergyCharts
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.signal import AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)


@pytest.fixture
def charts(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> EnergyCharts:
    return EnergyCharts(client, base_url=grid.url, patience=patience)


def body(start: datetime, came: list[Any], ahead: list[Any], *, step: timedelta = QUARTER, **more: Any) -> Reply:
    stamps = [int((start + i * step).timestamp()) for i in range(max(len(came), len(ahead)))]
    return Reply(body={"unix_seconds": stamps, "co2eq": came, "co2eq_forecast": ahead, "deprecated": False, **more})


async def test_quarter_hours_from_the_current_one_on_are_asked_for_by_country(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    forecast = await charts.forecast(DE, now=now, until=now + 5 * HOUR)
    assert grid.questions[0].params == {"country": "de", "start": "2026-09-14T09:00Z", "end": "2026-09-14T14:14Z"}
    assert forecast.signal == AVERAGE_OPERATIONAL
    assert {slot.end - slot.start for slot in forecast.series.slots} == {QUARTER}
    assert forecast.series.start <= now < forecast.series.start + QUARTER


async def test_great_britain_is_theirs_under_another_code_and_others_are_refused(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    await charts.forecast(Zone("GB"), now=now, until=now + HOUR)
    assert grid.questions[0].params["country"] == "uk"
    with pytest.raises(Permanent, match="no zone US-CAL-CISO"):
        await charts.forecast(Zone("US-CAL-CISO"), now=now, until=now + HOUR)


async def test_what_came_goes_before_what_was_forecast_and_a_run_of_nulls_is_a_gap(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    hour = hour_of(now)
    grid.answer = lambda _: body(hour, [300, None, None, None, None], [111, 310, None, None, 320])
    forecast = await charts.forecast(DE, now=now, until=now + HOUR)
    values = {(slot.start - hour) // QUARTER: slot.g_per_kwh for slot in forecast.series.slots}
    assert values == {0: 300, 1: 310, 4: 320}
    assert list(forecast.series.gaps(hour, hour + HOUR)) == [(hour + 2 * QUARTER, hour + HOUR)]


async def test_history_never_takes_a_forecast_for_what_came(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    hour = hour_of(now)
    grid.answer = lambda _: body(hour - HOUR, [300, 310, None, None], [1, 2, 3, 4])
    history = await charts.history(DE, start=hour - HOUR, end=hour, now=now)
    assert [slot.g_per_kwh for slot in history.slots] == [300, 310]
    assert all(slot.estimated for slot in history.slots), "corrected for a day"


async def test_values_older_than_a_day_are_measured(charts: EnergyCharts, now: datetime) -> None:
    history = await charts.history(DE, start=now - 50 * HOUR, end=now - 40 * HOUR, now=now)
    assert not any(slot.estimated for slot in history.slots)
    assert history.at(now - 45 * HOUR) == truth(hour_of(now - 45 * HOUR))


async def test_a_long_past_is_asked_for_month_by_month(charts: EnergyCharts, grid: FakeGrid, now: datetime) -> None:
    history = await charts.history(DE, start=now - timedelta(days=70), end=now, now=now)
    assert len(grid.questions) == 3
    assert history.covers(now - timedelta(days=70), now - HOUR)


@pytest.mark.parametrize("came", [None, [None, None]])
async def test_arrays_that_hold_nothing_are_no_answer(
    charts: EnergyCharts, grid: FakeGrid, now: datetime, came: Any
) -> None:
    reply = body(hour_of(now), [None, None], [None, None])
    assert isinstance(reply.body, dict)
    reply.body.update(co2eq=came, co2eq_forecast=came)
    grid.answer = lambda _: reply
    with pytest.raises(Transient, match="no intensity values"):
        await charts.forecast(DE, now=now, until=now + HOUR)


async def test_a_country_without_content_yet_is_asked_again_later(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    grid.answer = lambda _: Reply(404, {"detail": "no content available"})
    with pytest.raises(Transient, match="no content available"):
        await charts.forecast(DE, now=now, until=now + HOUR)


async def test_a_publication_that_ends_today_gives_a_shorter_forecast(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    grid.published_until = hour_of(now) + 3 * HOUR
    forecast = await charts.forecast(DE, now=now, until=now + 40 * HOUR)
    assert forecast.series.end == hour_of(now) + 3 * HOUR + QUARTER


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"co2eq": [1.0]}, "1 values under co2eq for 2 times"),
        ({"unix_seconds": [0, 86400]}, "seconds since 1970"),
        ({"unix_seconds": ["x", "y"]}, "expected a number"),
        ({"unix_seconds": None}, "no list under unix_seconds"),
        ({"unix_seconds": [1789372800, 1789372807]}, "expected 15, 30 or 60 minutes"),
        ({"co2eq": ["1", "2"]}, "expected a number"),
    ],
)
async def test_other_shapes_are_refused_in_one_line(
    charts: EnergyCharts, grid: FakeGrid, now: datetime, changed: dict[str, Any], told: str
) -> None:
    reply = body(hour_of(now), [1.0, 2.0], [None, None])
    assert isinstance(reply.body, dict)
    reply.body.update(changed)
    grid.answer = lambda _: reply
    with pytest.raises(Transient, match=told) as caught:
        await charts.forecast(DE, now=now, until=now + HOUR)
    assert "\n" not in str(caught.value)


async def test_points_out_of_order_and_twice_are_put_in_order_the_last_said_standing(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    hour = hour_of(now)
    stamps = [int((hour + i * QUARTER).timestamp()) for i in (2, 0, 1, 1)]
    grid.answer = lambda _: Reply(
        body={"unix_seconds": stamps, "co2eq": [None] * 4, "co2eq_forecast": [30, 10, 19, 20]}
    )
    forecast = await charts.forecast(DE, now=now, until=now + HOUR)
    assert [slot.g_per_kwh for slot in forecast.series.slots] == [10, 20, 30]


async def test_half_an_answer_and_slow_ones_are_asked_for_again(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    grid.faults = [Reply(body={"unix_seconds": [1]}, truncate=True), Reply(503, "busy")]
    forecast = await charts.forecast(DE, now=now, until=now + HOUR)
    assert len(grid.questions) == 3
    assert forecast.series.at(now) > 0


async def test_an_answer_called_deprecated_says_so(charts: EnergyCharts, grid: FakeGrid, now: datetime) -> None:
    grid.answer = lambda _: body(hour_of(now), [None] * 8, [5.0] * 8, deprecated=True)
    forecast = await charts.forecast(DE, now=now, until=now + HOUR)
    assert "deprecated" in forecast.parts[0].note


async def test_generation_by_source_leaves_out_load_and_stores(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    mix = await charts.mix(DE, start=now - 5 * HOUR, end=now, now=now)

    assert [question.path for question in grid.questions] == ["/public_power"]
    assert grid.questions[0].params == {"country": "de", "start": "2026-08-31T04:00Z", "end": "2026-09-14T09:14Z"}
    assert mix[0].start <= now - 5 * HOUR < mix[0].end
    assert all(slot.end <= now - HOUR / 2 for slot in mix)
    assert all(slot.mw == {"coal": 300 + slot.start.hour, "wind": 500 + slot.start.hour} for slot in mix)


async def test_a_quarter_hour_without_its_coal_is_none(charts: EnergyCharts, grid: FakeGrid, now: datetime) -> None:
    def answer(question: Question) -> Reply:
        reply = grid.well_behaved(question)
        assert isinstance(reply.body, dict)
        coal = reply.body["production_types"][0]["data"]
        newest = max(n for n, value in enumerate(coal) if value is not None)
        coal[newest] = None
        return reply

    grid.answer = answer
    short = await charts.mix(DE, start=now - 5 * HOUR, end=now, now=now)
    grid.answer = None
    full = await charts.mix(DE, start=now - 5 * HOUR, end=now, now=now)
    assert short == full[:-1]


async def test_what_is_announced_is_asked_for_by_type_and_comes_in_whole_hours_to_the_end_of_what_is_published(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    told = await charts.day_ahead(DE, start=now - 3 * HOUR, end=now + 96 * HOUR, now=now)

    kinds = ["wind_onshore", "wind_offshore", "solar", "load"]
    span = {"start": "2026-09-14T06:00Z", "end": "2026-09-17T09:14Z"}
    assert [question.path for question in grid.questions] == ["/public_power_forecast"] * 4
    assert [question.params for question in grid.questions] == [
        {"country": "de", "production_type": kind, "forecast_type": "day-ahead", **span} for kind in kinds
    ]
    first = hour_number(hour_of(now) - 3 * HOUR)
    assert {column: min(values) for column, values in told.items()} == dict.fromkeys(("wind", "solar", "load"), first)
    assert {len(told["wind"]), len(told["solar"])} == {len(told["load"])} == {(22 - 6)}
    # The mean of its four quarter-hours; wind is on land and at sea.
    assert told["solar"][first] == pytest.approx(500 + 6 + 0.375)
    assert told["wind"][first] == pytest.approx(1200 + 1300 + 2 * 6.375)


async def test_a_country_without_coast_has_the_wind_it_has_and_nothing_announced_is_no_failure(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    austria = Zone("AT")
    told = await charts.day_ahead(austria, start=now, end=now + HOUR, now=now)
    assert told["wind"][hour_number(now)] == pytest.approx(1200 + 9.375)
    assert len(grid.questions) == 4
    assert await charts.day_ahead(austria, start=now + 60 * HOUR, end=now + 61 * HOUR, now=now) == {}


async def test_an_hour_that_lacks_a_quarter_or_its_wind_at_sea_is_not_announced(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    def answer(question: Question) -> Reply:
        reply = grid.well_behaved(question)
        assert isinstance(reply.body, dict)
        values = reply.body["forecast_values"]
        if question.params["production_type"] == "wind_offshore":
            values[:4] = [None] * 4
        if question.params["production_type"] == "load":
            values[5] = None
        return reply

    grid.answer = answer
    told = await charts.day_ahead(DE, start=hour_of(now), end=hour_of(now) + 3 * HOUR, now=now)
    first = hour_number(now)
    assert {column: [hour - first for hour in values] for column, values in told.items()} == {
        "wind": [1, 2],
        "solar": [0, 1, 2],
        "load": [0, 2],
    }


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(404, {"detail": "country unknown"}), "no list under unix_seconds"),
        (
            Reply(body={"unix_seconds": [1789376400, 1789377300], "forecast_values": [1.0]}),
            "1 values under forecast_values for 2 times",
        ),
        (Reply(body={"unix_seconds": [], "forecast_values": [], "production_type": "nuclear"}), "got nuclear"),
        (Reply(body=[]), "expected an object"),
    ],
)
async def test_other_announcements_than_they_document_are_told(
    charts: EnergyCharts, grid: FakeGrid, now: datetime, reply: Reply, told: str
) -> None:
    grid.answer = lambda _: reply
    with pytest.raises(Transient, match=told):
        await charts.day_ahead(DE, start=now, end=now + HOUR, now=now)


async def test_columns_that_do_not_match_their_times_are_not_used(
    charts: EnergyCharts, grid: FakeGrid, now: datetime
) -> None:
    stamps = [int((hour_of(now) - n * QUARTER).timestamp()) for n in (2, 1)]
    types = [{"name": "Solar", "data": [1.0]}]
    grid.answer = lambda _: Reply(body={"unix_seconds": stamps, "production_types": types})

    with pytest.raises(Transient, match="1 values under data for 2 times"):
        await charts.mix(DE, start=now - HOUR, end=now, now=now)
