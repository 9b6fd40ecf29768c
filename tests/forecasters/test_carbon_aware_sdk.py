"""The Carbon Aware SDK's WebAPI: locations, windows, durations, and a host that cannot do all of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import FakeGrid, Question, Reply, hour_of
from kilowait_forecasters.errors import ForecastersError, Permanent, Transient
from kilowait_forecasters.providers.carbon_aware_sdk import CarbonAwareSdk
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE, MARGINAL_DIRECT
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)
FIVE = timedelta(minutes=5)


@pytest.fixture
def sdk(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> CarbonAwareSdk:
    return CarbonAwareSdk(client, base_url=f"{grid.url}/casdk", signal=AVERAGE_LIFECYCLE, patience=patience)


def except_locations(grid: FakeGrid, reply: Reply) -> None:
    def answer(question: Question) -> Reply:
        return grid.well_behaved(question) if question.path.endswith("/locations") else reply

    grid.answer = answer


def forecast_of(rows: list[Any], now: datetime, **more: Any) -> list[Any]:
    return [{"generatedAt": now.isoformat(), "forecastData": rows, **more}]


def point(start: datetime, minutes: Any, value: Any = 300.0) -> dict[str, Any]:
    return {"location": "IE", "timestamp": start.isoformat(), "duration": minutes, "value": value}


async def test_a_zone_is_the_location_that_lies_in_it_or_bears_its_name(
    sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime
) -> None:
    await sdk.forecast(DE, now=now, until=now + HOUR)
    await sdk.forecast(Zone("westeurope"), now=now, until=now + HOUR)

    assert [question.path for question in grid.questions] == [
        "/casdk/locations",
        "/casdk/emissions/forecasts/current",
        "/casdk/emissions/forecasts/current",
    ]
    assert all(question.params == {"location": "westeurope"} for question in grid.questions[1:])
    with pytest.raises(Permanent, match="no location in zone FR; its host has locations for DE, nowhere"):
        await sdk.forecast(Zone("FR"), now=now, until=now + HOUR)


async def test_the_issue_time_and_the_grid_it_was_taken_for_are_theirs(sdk: CarbonAwareSdk, now: datetime) -> None:
    forecast = await sdk.forecast(DE, now=now, until=now + HOUR)

    assert forecast.issued_at == now - timedelta(minutes=9)
    assert forecast.parts[0].note == "of grid DE"


async def test_what_its_source_gives_is_what_the_operator_says(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    marginal = CarbonAwareSdk(client, base_url=f"{grid.url}/casdk", signal=MARGINAL_DIRECT, patience=patience)

    assert (await marginal.forecast(DE, now=now, until=now + HOUR)).series.signal == MARGINAL_DIRECT


async def test_values_that_are_means_over_windows_that_overlap_are_not_used(
    sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime
) -> None:
    rows = [point(hour_of(now) + n * FIVE, 30) for n in range(12)]
    except_locations(grid, Reply(200, forecast_of(rows, now)))

    with pytest.raises(Transient, match="two values for zone DE"):
        await sdk.forecast(DE, now=now, until=now + HOUR)


async def test_a_duration_of_nothing_is_the_usual_distance(sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime) -> None:
    starts = [hour_of(now) - HOUR + n * FIVE for n in range(6)]
    rows = [{"location": "IE", "time": at.isoformat(), "rating": 300, "duration": "00:00:00"} for at in starts]
    except_locations(grid, Reply(200, rows))

    series = await sdk.history(DE, start=now - 2 * HOUR, end=now, now=now)
    assert {slot.end - slot.start for slot in series.slots} == {FIVE}


async def test_nothing_measured_is_claimed_for_what_is_past(sdk: CarbonAwareSdk, now: datetime) -> None:
    series = await sdk.history(DE, start=now - 5 * HOUR, end=now, now=now)

    assert all(slot.estimated for slot in series.slots)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (
            Reply(501, {"title": "NotImplementedException", "status": 501, "detail": "not implemented."}),
            Permanent,
            "NotImplementedException: not implemented.; the service does not offer this",
        ),
        (Reply(204, b""), Transient, "without the data asked for"),
        (Reply(500, {"title": "InternalServerError", "status": 500, "errors": {}}), Transient, "InternalServerError"),
        (Reply(400, {"title": "ArgumentException", "detail": "Invalid parameters"}), Permanent, "Invalid parameters"),
        (Reply(200, []), Transient, "expected one forecast"),
        (Reply(200, [{"generatedAt": "2026-09-14T09:00:00+00:00"}]), Transient, "no list under forecastData"),
        (Reply(200, [{"forecastData": [{"timestamp": "2026-09-14T09:00:00", "duration": 5}]}]), Transient, "its zone"),
        (
            Reply(200, [{"forecastData": [{"timestamp": "2026-09-14T09:00:00Z", "duration": 0}]}]),
            Transient,
            "lasts 0.0 minutes",
        ),
        (Reply(200, "<html>IIS</html>"), Transient, "a web page came"),
    ],
)
async def test_each_known_failure_is_told_in_one_line(
    sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    except_locations(grid, reply)

    with pytest.raises(kind) as caught:
        await sdk.forecast(DE, now=now, until=now + HOUR)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("duration", ["5 min", None, 300, "02:00:00"])
async def test_a_duration_that_is_none_is_not_guessed_at(
    sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime, duration: Any
) -> None:
    rows = [{"location": "IE", "time": hour_of(now).isoformat(), "rating": 300, "duration": duration}]
    except_locations(grid, Reply(200, rows))

    with pytest.raises(Transient, match=r"duration|lasts"):
        await sdk.history(DE, start=now - 2 * HOUR, end=now, now=now)


async def test_a_forecast_from_the_future_is_not_believed(sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime) -> None:
    except_locations(grid, Reply(200, forecast_of([point(hour_of(now), 60)], now + HOUR)))

    with pytest.raises(Transient, match="check the clocks"):
        await sdk.forecast(DE, now=now, until=now + HOUR)


async def test_numbers_of_a_region_of_watttime_are_no_averages(
    sdk: CarbonAwareSdk, grid: FakeGrid, now: datetime
) -> None:
    row = {**point(hour_of(now), 60), "location": "CAISO_NORTH"}
    except_locations(grid, Reply(200, forecast_of([row], now)))
    with pytest.raises(Permanent, match="CAISO_NORTH, a region of WattTime, which gives margins"):
        await sdk.forecast(DE, now=now, until=now + HOUR)

    except_locations(
        grid, Reply(200, [{"location": "PJM_DC", "time": now.isoformat(), "rating": 1, "duration": "01:00:00"}])
    )
    with pytest.raises(Permanent, match="PJM_DC, a region of WattTime"):
        await sdk.history(DE, start=now - HOUR, end=now, now=now)
