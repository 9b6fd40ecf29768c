"""Open-Meteo: units, stamps, places, and what was forecast apart from what is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import FakeGrid, Question, Reply, hour_of
from forecasters.fake_services import weather_truth
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.models.hours import hour_number, hour_start
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.providers.open_meteo import OpenMeteo

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BERLIN, MUNICH = (52.5, 13.4), (48.1, 11.6)


@pytest.fixture
def meteo(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> OpenMeteo:
    return OpenMeteo(client, base_url=f"{grid.url}/meteo", past_url=f"{grid.url}/past-meteo", patience=patience)


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


async def test_past_days_are_as_they_were_forecast_a_day_before_and_today_as_it_is_forecast_now(
    meteo: OpenMeteo, grid: FakeGrid, now: datetime
) -> None:
    found = await meteo.weather([BERLIN], start=now - 2 * DAY, end=now + 4 * DAY, now=now)

    past, ahead = grid.questions
    assert past.path == "/past-meteo/forecast"
    assert past.params["hourly"].split(",") == [
        "wind_speed_100m_previous_day1",
        "shortwave_radiation_previous_day1",
        "temperature_2m_previous_day1",
    ]
    assert ahead.path == "/meteo/forecast"
    assert (ahead.params["start_date"], ahead.params["end_date"]) == ("2026-09-14", "2026-09-18")
    wind, today = found["wf_wind_speed"], hour_number(midnight(now))
    assert sorted(wind) == list(range(hour_number(now - 2 * DAY), hour_number(now + 4 * DAY) + 1))
    for hour, value in wind.items():
        came = weather_truth("wind_speed_100m", 52.5, hour_start(hour))
        assert value == pytest.approx(came + (100 if hour < today else 0))


async def test_radiation_is_of_the_hour_before_its_stamp_and_wind_of_the_instant(
    meteo: OpenMeteo, now: datetime
) -> None:
    found = await meteo.weather([BERLIN], start=now, end=now + 5 * HOUR, now=now)

    at = hour_of(now)
    assert found["wf_dswrf"][hour_number(at)] == weather_truth("shortwave_radiation", 52.5, at + HOUR)
    assert found["wf_wind_speed"][hour_number(at)] == weather_truth("wind_speed_100m", 52.5, at)


async def test_several_places_are_one_question_and_their_mean(meteo: OpenMeteo, grid: FakeGrid, now: datetime) -> None:
    found = await meteo.weather([BERLIN, MUNICH], start=now, end=now + HOUR, now=now)

    (question,) = grid.questions
    assert (question.params["latitude"], question.params["longitude"]) == ("52.50,48.10", "13.40,11.60")
    at = hour_of(now)
    expected = (weather_truth("temperature_2m", 52.5, at) + weather_truth("temperature_2m", 48.1, at)) / 2
    assert found["wf_temperature"][hour_number(at)] == pytest.approx(expected)


async def test_a_year_is_asked_for_in_parts_and_comes_without_seams(
    meteo: OpenMeteo, grid: FakeGrid, now: datetime
) -> None:
    found = await meteo.weather([BERLIN], start=now - 365 * DAY, end=now + DAY, now=now)

    assert len(grid.questions) == 5
    for values in found.values():
        assert set(range(hour_number(now - 365 * DAY), hour_number(now + DAY))) <= values.keys()


def changed(grid: FakeGrid, **changes: Any) -> None:
    def answer(question: Question) -> Reply:
        reply = grid.well_behaved(question)
        assert isinstance(reply.body, dict)
        for key, value in changes.items():
            reply.body[key] = {**reply.body[key], **value} if isinstance(value, dict) else value
        return reply

    grid.answer = answer


async def test_null_and_places_of_which_one_is_missing_are_no_values(
    meteo: OpenMeteo, grid: FakeGrid, now: datetime
) -> None:
    def answer(question: Question) -> Reply:
        reply = grid.well_behaved(question)
        assert isinstance(reply.body, list)
        reply.body[1]["hourly"]["wind_speed_100m"] = [None] * 24
        return reply

    grid.answer = answer
    found = await meteo.weather([BERLIN, MUNICH], start=now, end=now + HOUR, now=now)
    assert found["wf_wind_speed"] == {}
    assert found["wf_temperature"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hourly_units": {"wind_speed_100m": "km/h"}}, "comes in km/h, not m/s"),
        ({"hourly_units": {"temperature_2m": "°F"}}, "comes in °F, not °C"),
        ({"utc_offset_seconds": 7200}, "7200 s off UTC"),
        ({"hourly": {"wind_speed_100m": [1.0]}}, "1 values of wind_speed_100m for 24 times"),
        ({"hourly": {"time": ["2026-09-14T09:00"] * 24}}, "expected a number"),
    ],
)
async def test_an_answer_in_other_units_or_times_is_not_used(
    meteo: OpenMeteo, grid: FakeGrid, now: datetime, changes: dict[str, Any], told: str
) -> None:
    changed(grid, **changes)

    with pytest.raises(Transient, match=told):
        await meteo.weather([BERLIN], start=now, end=now + HOUR, now=now)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (
            Reply(429, {"error": True, "reason": "Minutely API request limit exceeded. Please try again"}),
            Transient,
            "Minutely API request limit exceeded",
        ),
        (Reply(400, {"error": True, "reason": "Cannot initialize wind_speed_99m"}), Permanent, "wind_speed_99m"),
        (Reply(200, []), Transient, "0 answers for 1 places"),
        (Reply(200, "<html>hello</html>"), Transient, "a web page came"),
        (Reply(503, {"error": True, "reason": "overloaded"}), Transient, "overloaded"),
    ],
)
async def test_each_known_failure_is_told_in_one_line(
    meteo: OpenMeteo, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    grid.answer = lambda _: reply

    with pytest.raises(kind) as caught:
        await meteo.weather([BERLIN], start=now, end=now + HOUR, now=now)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_no_place_and_no_length_are_refused(meteo: OpenMeteo, now: datetime) -> None:
    with pytest.raises(Refused, match="no place"):
        await meteo.weather([], start=now, end=now + HOUR, now=now)
    with pytest.raises(Refused, match="no length"):
        await meteo.weather([BERLIN], start=now, end=now, now=now)
