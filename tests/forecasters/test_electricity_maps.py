"""Electricity Maps: what is asked, what is believed, and what is not."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasters.fake_grid import TOKEN, FakeGrid, Question, Reply, hour_of, truth
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.providers.base import Access
from kilowait_forecasters.providers.electricity_maps import ElectricityMaps
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Scope
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)


@pytest.fixture
def maps(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> ElectricityMaps:
    return ElectricityMaps(client, token=f"{TOKEN}\n", base_url=grid.url, patience=patience)


def forecast_body(now: datetime, values: list[Any], **more: Any) -> dict[str, Any]:
    rows = [
        {"carbonIntensity": value, "datetime": (hour_of(now) + n * HOUR).isoformat()} for n, value in enumerate(values)
    ]
    return {"zone": "DE", "forecast": rows, "updatedAt": now.isoformat(), "temporalGranularity": "hourly", **more}


def answers(grid: FakeGrid, body: Any) -> None:
    def answer(_: Question) -> Reply:
        return Reply(body=body)

    grid.answer = answer


@pytest.mark.parametrize(("ahead_h", "horizon"), [(1, "6"), (5, "6"), (6, "24"), (24, "48"), (72, "72"), (200, "72")])
async def test_the_smallest_horizon_that_reaches_far_enough_is_asked_for(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, ahead_h: int, horizon: str
) -> None:
    forecast = await maps.forecast(DE, now=now, until=now + ahead_h * HOUR)

    (question,) = grid.questions
    assert question.params == {
        "zone": "DE",
        "emissionFactorType": "lifecycle",
        "temporalGranularity": "hourly",
        "disableCallerLookup": "true",
        "horizonHours": horizon,
    }
    assert question.path == "/carbon-intensity/forecast"
    # One row more than asked, the first being the current hour.
    assert len(forecast.series.slots) == int(horizon) + 1
    assert forecast.series.start == hour_of(now)


async def test_the_issue_time_is_theirs(maps: ElectricityMaps, now: datetime) -> None:
    forecast = await maps.forecast(DE, now=now, until=now + HOUR)

    assert forecast.issued_at == forecast.available_at == now - timedelta(minutes=13)
    assert forecast.source == "electricity-maps"
    assert not any(slot.estimated for slot in forecast.series.slots)


async def test_an_absent_issue_time_is_replaced_by_an_older_one_and_said(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, forecast_body(now, [300, 310], updatedAt=None))

    forecast = await maps.forecast(DE, now=now, until=now + HOUR)
    assert forecast.issued_at == hour_of(now)
    assert "issue time not given" in forecast.parts[0].note


async def test_a_stamp_slightly_ahead_is_clock_skew_and_one_far_ahead_is_not_believed(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, forecast_body(now, [300, 310], updatedAt=(now + timedelta(seconds=90)).isoformat()))
    assert (await maps.forecast(DE, now=now, until=now + HOUR)).issued_at == now

    answers(grid, forecast_body(now, [300, 310], updatedAt=(now + HOUR).isoformat()))
    with pytest.raises(Transient, match="check the clocks"):
        await maps.forecast(DE, now=now, until=now + HOUR)


async def test_null_is_a_gap_and_zero_is_a_value(maps: ElectricityMaps, grid: FakeGrid, now: datetime) -> None:
    answers(grid, forecast_body(now, [300, None, 0, 310]))

    series = (await maps.forecast(DE, now=now, until=now + HOUR)).series
    assert list(series.gaps(series.start, series.end)) == [(hour_of(now) + HOUR, hour_of(now) + 2 * HOUR)]
    assert series.at(hour_of(now) + 2 * HOUR) == 0


@pytest.mark.parametrize("values", [[None, 300], [None, None], []])
async def test_a_forecast_without_a_value_for_now_is_a_passing_failure(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, values: list[Any]
) -> None:
    answers(grid, forecast_body(now, values))

    with pytest.raises(Transient, match=r"no value for|no intensity values"):
        await maps.forecast(DE, now=now, until=now + HOUR)


async def test_an_answer_about_another_zone_is_not_taken_for_ours(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, forecast_body(now, [300, 310]) | {"zone": "FR"})
    with pytest.raises(Permanent, match="zone DE: answered for zone FR"):
        await maps.forecast(DE, now=now, until=now + HOUR)

    rows = [{"zone": "FR", "carbonIntensity": 50, "datetime": (hour_of(now) - HOUR).isoformat()}]
    answers(grid, {"zone": "DE", "data": rows})
    with pytest.raises(Permanent, match="a row of zone FR"):
        await maps.history(DE, start=now - 3 * HOUR, end=now, now=now)


async def test_direct_intensity_is_asked_for_and_lifecycle_in_return_is_refused(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    direct = ElectricityMaps(client, token=TOKEN, scope=Scope.DIRECT, base_url=grid.url, patience=patience)

    assert (await direct.forecast(DE, now=now, until=now + HOUR)).signal == AVERAGE_DIRECT
    assert grid.questions[-1].params["emissionFactorType"] == "direct"
    with pytest.raises(Transient, match="gives lifecycle, not direct"):
        await direct.history(DE, start=now - 3 * HOUR, end=now, now=now)
    with pytest.raises(Refused, match="operational"):
        ElectricityMaps(client, token=TOKEN, scope=Scope.OPERATIONAL)


async def test_the_last_day_is_read_from_history_and_estimates_are_flagged(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    series = await maps.history(DE, start=now - 20 * HOUR, end=now, now=now)

    assert [question.path for question in grid.questions] == ["/carbon-intensity/history"]
    assert series.end == hour_of(now)
    assert [slot.estimated for slot in series.slots[-4:]] == [False, True, True, True]


async def test_a_value_that_is_not_said_to_be_measured_counts_as_estimated(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    rows = [{"carbonIntensity": 300, "datetime": (hour_of(now) - HOUR).isoformat()}]
    answers(grid, {"zone": "DE", "data": rows})

    assert (await maps.history(DE, start=now - 3 * HOUR, end=now, now=now)).slots[0].estimated


async def test_older_history_is_asked_for_in_pieces_of_ten_days(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    start = now - timedelta(days=24)
    series = await maps.history(DE, start=start, end=now, now=now)

    assert [question.path for question in grid.questions] == ["/carbon-intensity/past-range"] * 3
    assert grid.questions[0].params["start"] == "2026-08-21T09:00:00.000Z"
    assert series.covers(start, hour_of(now))
    assert all(slot.g_per_kwh == truth(slot.start) for slot in series.slots)


async def test_duplicate_and_unordered_rows_are_put_right_and_overlapping_ones_are_not_believed(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime
) -> None:
    body = forecast_body(now, [300, 310, 320])
    body["forecast"] = [*reversed(body["forecast"]), {**body["forecast"][1], "carbonIntensity": 311}]
    answers(grid, body)
    series = (await maps.forecast(DE, now=now, until=now + HOUR)).series
    assert [slot.g_per_kwh for slot in series.slots] == [300, 311, 320]

    half_past = {"carbonIntensity": 1, "datetime": (hour_of(now) + HOUR / 2).isoformat()}
    answers(grid, forecast_body(now, [300]) | {"forecast": [*forecast_body(now, [300])["forecast"], half_past]})
    with pytest.raises(Transient, match="two values"):
        await maps.forecast(DE, now=now, until=now + HOUR)


async def test_quarter_hours_are_taken_for_what_they_are(maps: ElectricityMaps, grid: FakeGrid, now: datetime) -> None:
    quarter = timedelta(minutes=15)
    rows = [{"carbonIntensity": 300 + n, "datetime": (hour_of(now) + n * quarter).isoformat()} for n in range(8)]
    answers(grid, forecast_body(now, []) | {"forecast": rows, "temporalGranularity": "15_minutes"})

    series = (await maps.forecast(DE, now=now, until=now + HOUR)).series
    assert {slot.end - slot.start for slot in series.slots} == {quarter}


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(401, {"error": "Invalid auth-token"}), Permanent, "check the electricity-maps token"),
        (
            Reply(401, {"error": "Request unauthorized for zoneKey=DE", "message": "You do not have access"}),
            Permanent,
            "You do not have access",
        ),
        (Reply(404, {"error": 'No recent data for zone "DE"'}), Transient, "No recent data"),
        (Reply(400, {"error": "Invalid horizonHours"}), Permanent, "Invalid horizonHours"),
        (Reply(429, "", {"Retry-After": "60"}), Transient, "asked to wait 60 s"),
        (Reply(403, "<html>error code: 1010</html>"), Permanent, "error code: 1010"),
        (Reply(200, {"error": "No recent data"}), Transient, "No recent data"),
        (Reply(200, []), Transient, "expected an object"),
        (Reply(200, {"zone": "DE"}), Transient, "no list under data or history or forecast"),
        (Reply(200, {"zone": "DE", "data": [1]}), Transient, "expected an object"),
        (Reply(200, {"zone": "DE", "data": [], "temporalGranularity": "daily"}), Transient, "unknown granularity"),
        (Reply(200, b""), Transient, "empty"),
    ],
)
async def test_each_known_failure_is_told_in_one_line_with_the_zone(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    grid.answer = lambda _: reply

    with pytest.raises(kind) as caught:
        await maps.forecast(DE, now=now, until=now + HOUR)
    assert told in str(caught.value)
    assert "zone DE" in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("value", ["300", True, [300], {"value": 300}])
async def test_a_value_that_is_not_a_number_is_not_guessed_at(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, value: Any
) -> None:
    answers(grid, forecast_body(now, [300, value]))

    with pytest.raises(Transient, match="expected a number or null"):
        await maps.forecast(DE, now=now, until=now + HOUR)


@pytest.mark.parametrize("stamp", ["2026-09-14T09:00:00", "yesterday", None, 1789376400, "9999-12-31T23:59:59Z"])
async def test_a_time_without_a_zone_is_not_guessed_at(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, stamp: Any
) -> None:
    body = forecast_body(now, [300])
    body["forecast"].append({"carbonIntensity": 1, "datetime": stamp})
    answers(grid, body)

    with pytest.raises(Transient, match="expected a time with its zone"):
        await maps.forecast(DE, now=now, until=now + HOUR)


def test_an_empty_token_is_told_at_once(client: httpx.AsyncClient) -> None:
    with pytest.raises(Permanent, match=r"KILOWAIT_EM_TOKEN is empty; set it"):
        ElectricityMaps(client, token=" \n", setting="KILOWAIT_EM_TOKEN")


@pytest.mark.parametrize("envelope", ["history", "data"])
async def test_answers_of_version_3_are_read_as_those_of_version_4(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, envelope: str
) -> None:
    # Version 3 says nothing of granularity and flows, and more of how it estimates.
    rows = [
        {
            "zone": "DE",
            "carbonIntensity": 285 + n,
            "datetime": f"{hour_of(now) - (3 - n) * HOUR:%Y-%m-%dT%H:%M:%S.000Z}",
            "updatedAt": "2026-09-14T09:00:00.000Z",
            "createdAt": "2026-09-11T09:46:02.281Z",
            "emissionFactorType": "lifecycle",
            "isEstimated": n > 0,
            "estimationMethod": "TIME_SLICER_AVERAGE" if n else None,
        }
        for n in range(3)
    ]
    answers(grid, {"zone": "DE", envelope: rows})

    series = await maps.history(DE, start=now - 5 * HOUR, end=now, now=now)
    assert [(slot.g_per_kwh, slot.estimated) for slot in series.slots] == [(285, False), (286, True), (287, True)]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"error": "Invalid auth-token"}, "Invalid auth-token"),
        (403, {"error": "Access denied"}, "Access denied"),
        (404, {"error": "Not found"}, "Not found"),
    ],
)
async def test_a_wrong_token_a_plan_and_an_unknown_address_are_told_apart(
    maps: ElectricityMaps, grid: FakeGrid, now: datetime, status: int, body: Any, told: str
) -> None:
    grid.answer = lambda _: Reply(status, body)

    with pytest.raises(Permanent, match=f"{status}: {told}") as caught:
        await maps.forecast(DE, now=now, until=now + HOUR)
    assert caught.value.status == status


async def test_what_the_token_may_ask_for_is_what_they_say_zone_by_zone(maps: ElectricityMaps, grid: FakeGrid) -> None:
    answers(
        grid,
        {
            "DK-DK2": {"access": ["carbon-intensity/latest", "carbon-intensity/history"]},
            "PL": {"access": ["*"]},
            "FR": {"access": ["carbon-intensity/past-range", "price-day-ahead/forecast"]},
            "SE": {"zoneName": "Sweden"},
        },
    )

    assert await maps.access() == [
        Access("DK-DK2", AVERAGE_LIFECYCLE, forecast=False, history=True),
        Access("PL", AVERAGE_LIFECYCLE, forecast=True, history=True),
        Access("FR", AVERAGE_LIFECYCLE, forecast=False, history=True),
    ]


@pytest.mark.parametrize("body", [{}, {"DE": {"zoneName": "Germany"}}, {"error": "Invalid auth-token"}])
async def test_a_list_of_zones_that_says_nothing_of_the_token_is_not_taken_for_a_refusal(
    maps: ElectricityMaps, grid: FakeGrid, body: Any
) -> None:
    answers(grid, body)

    with pytest.raises(Transient, match=r"only asking tells|Invalid auth-token"):
        await maps.access()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
row = st.fixed_dictionaries(
    {},
    optional={
        "zone": st.just("DE") | anything,
        "datetime": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | anything,
        "carbonIntensity": st.floats() | anything,
        "emissionFactorType": st.just("lifecycle") | anything,
        "isEstimated": st.booleans() | anything,
    },
)
answer_body = anything | st.fixed_dictionaries(
    {"zone": st.just("DE")},
    optional={
        "forecast": st.lists(row, max_size=4) | anything,
        "updatedAt": anything | st.just("2026-09-14T09:00:00Z"),
        "temporalGranularity": st.sampled_from(["hourly", "5_minutes"]) | anything,
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=answer_body)
async def test_whatever_json_comes_the_answer_is_a_forecast_or_one_of_our_errors(
    body: Any, now: datetime, patience: Patience
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps(body).encode()))
    async with httpx.AsyncClient(transport=transport) as client:
        maps = ElectricityMaps(client, token=TOKEN, patience=patience)
        for question in (
            maps.forecast(DE, now=now, until=now + HOUR),
            maps.history(DE, start=now - 5 * HOUR, end=now, now=now),
        ):
            try:
                await question
            except ForecastersError as error:
                assert "\n" not in str(error)
