"""EIA: hours named after their end, texts for numbers, pages, and keys that are suspended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import FakeGrid, Question, Reply, hour_of, truth
from forecasters.fake_services import API_KEY, eia_row
from kilowait_forecasters.cloud import cloud_regions
from kilowait_forecasters.errors import ForecastersError, Permanent, Transient
from kilowait_forecasters.mix import FACTORS
from kilowait_forecasters.providers.eia import RESPONDENTS, Eia
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.zone import Zone

CISO = Zone("US-CAL-CISO")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def eia(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Eia:
    return Eia(client, key=f"{API_KEY}\n", base_url=f"{grid.url}/eia", setting="KILOWAIT_EIA_KEY", patience=patience)


def body_of(rows: list[Any], *, total: int | str | None = None, **more: Any) -> dict[str, Any]:
    return {"response": {"total": str(len(rows)) if total is None else total, "data": rows, **more}}


def rows_of(ends: datetime, **values: str | None) -> list[dict[str, Any]]:
    return [eia_row(ends, fueltype, value, "CISO") for fueltype, value in values.items()]


def answers(grid: FakeGrid, body: Any, status: int = 200) -> None:
    grid.answer = lambda _: Reply(status, body)


async def test_an_hour_is_named_after_its_end(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    ends = hour_of(now) - HOUR
    answers(grid, body_of(rows_of(ends, COL="100", WND="300")))

    (slot,) = (await eia.history(CISO, start=now - 6 * HOUR, end=now, now=now)).slots
    assert (slot.start, slot.end) == (ends - HOUR, ends)


async def test_the_question_names_the_value_the_respondent_and_the_ends_of_the_hours(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    await eia.history(CISO, start=now - 3 * HOUR, end=now, now=now)

    (question,) = grid.questions
    assert question.path == "/eia/electricity/rto/fuel-type-data/data/"
    assert question.params == {
        "frequency": "hourly",
        "data[]": "value",
        "facets[respondent][]": "CISO",
        "start": "2026-08-31T07",  # the hour from six on, two weeks before the first one asked for
        "end": "2026-09-14T10",
        "sort[0][column]": "period",
        "sort[0][direction]": "asc",
        "sort[1][column]": "fueltype",
        "sort[1][direction]": "asc",
        "length": "5000",
        "offset": "0",
        "api_key": API_KEY,
    }


async def test_texts_are_numbers_null_is_missing_and_pumping_counts_as_none(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    rows = rows_of(hour_of(now), COL="100", NG="300.5", WAT="-40", NUC=None, BAT="900", PS="-20", NEW="10")
    answers(grid, body_of(rows, total=7))

    (slot,) = await eia.mix(CISO, start=now - 3 * HOUR, end=now, now=now)
    assert slot.mw == {"coal": 100, "gas": 300.5, "hydro": 0, "unknown": 10}


async def test_intensity_is_generation_times_factor_over_generation(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    answers(grid, body_of(rows_of(hour_of(now), NG="600", SUN="300", WND="100")))

    series = await eia.history(CISO, start=now - 3 * HOUR, end=now, now=now)
    expected = 0.6 * FACTORS["gas"][0] + 0.3 * FACTORS["solar"][0] + 0.1 * FACTORS["wind"][0]
    assert series.slots[0].g_per_kwh == pytest.approx(expected)


async def test_an_hour_whose_gas_is_not_reported_yet_is_no_clean_hour(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    rows = [row for n in range(26) for row in rows_of(hour_of(now) - n * HOUR, NG="600" if n else None, WND="400")]
    answers(grid, body_of(rows))

    series = await eia.history(CISO, start=now - 3 * HOUR, end=now, now=now)
    assert series.end == hour_of(now) - HOUR


@pytest.mark.parametrize("silent_for", [20 * HOUR, 26 * HOUR, 3 * DAY, 6 * DAY, 13 * DAY])
@pytest.mark.parametrize("back", [3 * HOUR, 3 * DAY, 5 * DAY])
async def test_a_source_silent_for_over_a_day_makes_no_clean_grid(
    eia: Eia, grid: FakeGrid, now: datetime, silent_for: timedelta, back: timedelta
) -> None:
    def answer(question: Question) -> Reply:
        asked = datetime.strptime(question.params["start"], "%Y-%m-%dT%H").replace(tzinfo=now.tzinfo)
        ends = [asked + n * HOUR for n in range((hour_of(now) - asked) // HOUR + 1)]
        rows = [rows_of(at, COL="500" if at <= now - silent_for else None, WND="500") for at in ends]
        return Reply(body=body_of([row for of_hour in rows for row in of_hour]))

    grid.answer = answer
    for _ in range(2):
        mix = await eia.mix(CISO, start=now - back, end=now, now=now)
        assert all(slot.mw == {"coal": 500, "wind": 500} for slot in mix)


async def test_a_year_comes_page_by_page_without_a_hole(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    series = await eia.history(CISO, start=now - 100 * DAY, end=now, now=now)

    assert [question.params["offset"] for question in grid.questions] == ["0", "5000"]
    assert series.covers(now - 100 * DAY, hour_of(now) - HOUR)
    assert all(slot.g_per_kwh == pytest.approx(truth(slot.start)) for slot in series.slots)


async def test_rows_that_are_promised_and_do_not_come_are_not_taken_for_all(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    rows = rows_of(hour_of(now), COL="100")

    def answer(question: Question) -> Reply:
        return Reply(body=body_of(rows if question.params["offset"] == "0" else [], total="81234"))

    grid.answer = answer
    with pytest.raises(Transient, match="1 of 81234 rows came"):
        await eia.history(CISO, start=now - 6 * HOUR, end=now, now=now)


async def test_rows_that_occur_twice_or_out_of_order_count_once(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    newer, older = (rows_of(hour_of(now) - n * HOUR, COL="100", WND="300") for n in (0, 1))
    answers(grid, body_of([*newer, *older, *newer]))

    mix = await eia.mix(CISO, start=now - 6 * HOUR, end=now, now=now)
    assert [slot.start for slot in mix] == [hour_of(now) - 2 * HOUR, hour_of(now) - HOUR]
    assert all(slot.mw == {"coal": 100, "wind": 300} for slot in mix)


async def test_an_authority_without_rows_has_none_yet(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    answers(grid, body_of([], total="0"))

    with pytest.raises(Transient, match="ask again"):
        await eia.history(CISO, start=now - 6 * HOUR, end=now, now=now)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (
            Reply(403, {"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied."}}),
            Permanent,
            "check KILOWAIT_EIA_KEY",
        ),
        (Reply(403, "Forbidden"), Transient, "taken for a pause"),
        (Reply(400, {"error": "Invalid frequency 'hurly' provided.", "code": 400}), Permanent, "Invalid frequency"),
        (Reply(404, {"error": "Not found.", "code": 404}), Permanent, "Not found"),
        (Reply(200, {"error": "Invalid frequency", "code": 400}), Permanent, "Invalid frequency"),
        (Reply(200, {"response": {"data": [{"respondent": "CISO"}], "total": "1"}}), Transient, "without a value"),
        (Reply(200, {"response": {"data": [{"respondent": "PJM"}], "total": "1"}}), Transient, "respondent PJM"),
        (Reply(200, body_of([{**eia_row(datetime(2026, 9, 14), "NG", "x", "CISO")}])), Transient, "got 'x'"),
        (Reply(200, body_of([{**eia_row(datetime(2026, 9, 14), "NG", "nan", "CISO")}])), Transient, "finite"),
        (
            Reply(200, body_of([{**eia_row(datetime(2026, 9, 14), "NG", "1", "CISO"), "value-units": "GWh"}])),
            Transient,
            "gives GWh, not megawatthours",
        ),
        (
            Reply(200, body_of([{**eia_row(datetime(2026, 9, 14), "NG", "1", "CISO"), "period": "2026-09-14"}])),
            Transient,
            "expected an hour",
        ),
        (Reply(200, {"response": {"total": "1"}}), Transient, "no list under data"),
        (Reply(200, '{"response": {"data": [{"per'), Transient, "not whole JSON"),
        (Reply(200, "<html>Maintenance</html>"), Transient, "a web page came"),
        (Reply(429, {"error": {"message": "OVER_RATE_LIMIT"}}, {"Retry-After": "30"}), Transient, "wait 30 s"),
    ],
)
async def test_each_known_failure_is_told_in_one_line_without_the_key(
    eia: Eia, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    grid.answer = lambda _: reply

    with pytest.raises(kind) as caught:
        await eia.history(CISO, start=now - 6 * HOUR, end=now, now=now)
    assert told in str(caught.value)
    assert "zone US-CAL-CISO" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert API_KEY not in str(caught.value)


async def test_a_suspended_key_is_left_alone_for_minutes(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    answers(grid, "Forbidden", 403)

    with pytest.raises(Transient) as caught:
        await eia.history(CISO, start=now - 6 * HOUR, end=now, now=now)
    assert caught.value.retry_after_s == 300
    assert len(grid.questions) == 1


def test_respondents_are_those_of_the_table_of_cloud_regions() -> None:
    for region in cloud_regions():
        if region.eia_authority is not None and region.zone.id.startswith("US-"):
            assert RESPONDENTS[region.zone.id] == region.eia_authority
