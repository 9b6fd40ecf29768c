"""NESO: an extra first row, short and empty publications, forecasts beside what came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import HALF_HOUR, FakeGrid, Reply, hour_of
from kilowait_forecasters.errors import ForecastersError, Permanent, Transient
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.providers.neso import Neso
from kilowait_forecasters.signal import AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

GB = Zone("GB")
HOUR = timedelta(hours=1)


@pytest.fixture
def neso(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Neso:
    return Neso(client, base_url=grid.url, patience=patience)


def row(start: datetime, *, forecast: Any, actual: Any = None) -> dict[str, Any]:
    return {
        "from": start.strftime("%Y-%m-%dT%H:%MZ"),
        "to": (start + HALF_HOUR).strftime("%Y-%m-%dT%H:%MZ"),
        "intensity": {"forecast": forecast, "actual": actual, "index": "low"},
    }


async def test_a_stable_address_one_minute_into_the_half_hour_is_asked(
    neso: Neso, grid: FakeGrid, now: datetime
) -> None:
    forecast = await neso.forecast(GB, now=now, until=now + 3 * HOUR)

    assert [question.path for question in grid.questions] == ["/intensity/2026-09-14T09:01Z/fw48h"]
    assert forecast.signal == AVERAGE_OPERATIONAL
    assert forecast.series.start == hour_of(now)
    assert forecast.series.end >= now + 48 * HOUR
    assert {slot.end - slot.start for slot in forecast.series.slots} == {HALF_HOUR}


async def test_the_slot_that_has_ended_is_dropped_from_the_forecast(neso: Neso, grid: FakeGrid, now: datetime) -> None:
    hour = hour_of(now)
    rows = [row(hour - HALF_HOUR, forecast=124, actual=128), row(hour, forecast=119, actual=123)]
    grid.answer = lambda _: Reply(body={"data": rows})

    forecast = await neso.forecast(GB, now=now, until=now + HOUR)
    assert [(slot.start, slot.g_per_kwh) for slot in forecast.series.slots] == [(hour, 119)]


async def test_a_publication_that_stops_early_gives_a_shorter_forecast(
    neso: Neso, grid: FakeGrid, now: datetime
) -> None:
    grid.published_until = hour_of(now) + 5 * HOUR

    assert (await neso.forecast(GB, now=now, until=now + 40 * HOUR)).series.end == grid.published_until


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(body={}), Transient, "no list under data"),
        (Reply(body={"data": []}), Transient, "no intensity values"),
        (Reply(body={"data": {"regionid": 13, "data": []}}), Transient, "no list under data"),
        (Reply(body=b""), Transient, "empty"),
        (Reply(500, {"error": {"code": "500 Internal Server Error", "message": "oh"}}), Transient, "oh"),
        (Reply(400, {"error": {"code": "400 Bad Request", "message": "too long"}}), Permanent, "too long"),
        (Reply(body={"data": [{"from": "2026-09-14T09:00Z", "to": "x"}]}), Transient, "expected an object"),
    ],
)
async def test_each_known_failure_is_told_in_one_line(
    neso: Neso, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    grid.answer = lambda _: reply

    with pytest.raises(kind, match=told) as caught:
        await neso.forecast(GB, now=now, until=now + HOUR)
    assert str(caught.value).startswith("neso")


async def test_a_publication_that_begins_later_than_now_is_a_passing_failure(
    neso: Neso, grid: FakeGrid, now: datetime
) -> None:
    grid.answer = lambda _: Reply(body={"data": [row(hour_of(now) + HALF_HOUR, forecast=100)]})

    with pytest.raises(Transient, match="no value for 2026-09-14T09:14:25"):
        await neso.forecast(GB, now=now, until=now + HOUR)


async def test_a_row_that_ends_before_it_begins_is_not_believed(neso: Neso, grid: FakeGrid, now: datetime) -> None:
    backwards = row(hour_of(now), forecast=100) | {"to": "2026-09-14T08:00Z"}
    grid.answer = lambda _: Reply(body={"data": [backwards]})

    with pytest.raises(Transient, match="a row runs from"):
        await neso.forecast(GB, now=now, until=now + HOUR)


async def test_history_takes_what_came_and_not_what_was_forecast(neso: Neso, grid: FakeGrid, now: datetime) -> None:
    hour = hour_of(now)
    rows = [
        row(hour - 2 * HOUR, forecast=1, actual=130),
        row(hour - 1.5 * HOUR, forecast=2, actual=0),
        row(hour - HOUR, forecast=3, actual=None),
    ]
    grid.answer = lambda _: Reply(body={"data": rows})

    series = await neso.history(GB, start=hour - 2 * HOUR, end=hour, now=now)
    assert [slot.g_per_kwh for slot in series.slots] == [130, 0]
    assert list(series.gaps(hour - 2 * HOUR, hour)) == [(hour - HOUR, hour)]


async def test_values_that_are_still_revised_are_flagged_as_estimated(neso: Neso, now: datetime) -> None:
    series = await neso.history(GB, start=now - 30 * HOUR, end=now, now=now)

    for slot in series.slots:
        assert slot.estimated == (slot.end > now - 24 * HOUR)


async def test_a_long_history_is_asked_for_in_pieces_without_a_seam(neso: Neso, grid: FakeGrid, now: datetime) -> None:
    start = now - timedelta(days=40)
    series = await neso.history(GB, start=start, end=now, now=now)

    assert len(grid.questions) == 4
    assert series.covers(start, hour_of(now) - HALF_HOUR)


async def test_only_great_britain_is_served(neso: Neso, grid: FakeGrid, now: datetime) -> None:
    with pytest.raises(Permanent, match="neso: no zone DE; it has GB"):
        await neso.forecast(Zone("DE"), now=now, until=now + HOUR)
    assert grid.questions == []
