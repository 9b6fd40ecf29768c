"""What is announced a day ahead: wind, solar and load of ENTSO-E, load of EIA, in whole hours, and never made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.fake_entsoe import (
    NO_DATA,
    SECURITY_TOKEN,
    Series,
    acknowledgement,
    announced_hour,
    document,
    moment,
)
from forecasters.fake_grid import FakeGrid, Question, Reply, hour_of
from forecasters.fake_services import API_KEY, eia_load, eia_load_row
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.models.hours import Columns, hour_number, hour_start
from kilowait_forecasters.providers.eia import Eia
from kilowait_forecasters.providers.entsoe import AREAS, Entsoe, _means
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.zone import Zone

DE, CISO = Zone("DE"), Zone("US-CAL-CISO")
HOUR, QUARTER, DAY = timedelta(hours=1), timedelta(minutes=15), timedelta(days=1)
MIDNIGHT = datetime(2026, 9, 14, tzinfo=UTC)
# The end of today's market day, and of tomorrow's.
TODAY_ENDS, TOMORROW_ENDS = MIDNIGHT + 22 * HOUR, MIDNIGHT + 46 * HOUR


@pytest.fixture
def entsoe(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Entsoe:
    return Entsoe(client, token=SECURITY_TOKEN, base_url=f"{grid.url}/entsoe", patience=patience)


@pytest.fixture
def eia(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Eia:
    return Eia(client, key=API_KEY, base_url=f"{grid.url}/eia", setting="KILOWAIT_EIA_KEY", patience=patience)


def hours(start: datetime, end: datetime) -> list[int]:
    return list(range(hour_number(start), hour_number(end)))


def flat(psr_type: str, mw: float, *, start: datetime = MIDNIGHT, count: int = 24, **more: Any) -> Series:
    """The same MW in `count` hours from `start` on."""
    return Series(psr_type, dict.fromkeys(range(1, count + 1), mw), start, start + count * HOUR, **more)


def answers(grid: FakeGrid, *, wind_and_sun: str = NO_DATA, load: str = NO_DATA) -> None:
    """From now on, whatever is asked."""
    told = {"A69": wind_and_sun, "A65": load}
    grid.answer = lambda question: Reply(body=told[question.params["documentType"]])


async def of_today(entsoe: Entsoe, now: datetime) -> Columns:
    return await entsoe.day_ahead(DE, start=MIDNIGHT, end=MIDNIGHT + DAY, now=now)


# ENTSO-E


async def test_wind_and_sun_are_asked_for_by_the_area_they_are_in_and_load_by_the_one_it_is_drawn_from(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    await entsoe.day_ahead(DE, start=now - 3 * HOUR, end=now + 20 * HOUR, now=now)

    span = {"periodStart": "202609140600", "periodEnd": "202609150614", "securityToken": SECURITY_TOKEN}
    assert [question.params for question in grid.questions] == [
        {"documentType": "A69", "processType": "A01", "in_Domain": AREAS["DE"], **span},
        {"documentType": "A65", "processType": "A01", "outBiddingZone_Domain": AREAS["DE"], **span},
    ]


@pytest.mark.parametrize("evening", [False, True])
async def test_tomorrow_is_there_as_far_as_it_is_published_and_load_is_earlier_than_wind(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, evening: bool
) -> None:
    grid.now = now = now + 10 * HOUR if evening else now + 2 * HOUR
    start = MIDNIGHT - 2 * DAY
    found = await entsoe.day_ahead(DE, start=start, end=now + 4 * DAY, now=now)

    until = TOMORROW_ENDS if evening else TODAY_ENDS
    assert list(found["wind"]) == list(found["solar"]) == hours(start, until)
    assert list(found["load"]) == hours(start, TOMORROW_ENDS)
    for hour, mw in found["wind"].items():
        assert mw == pytest.approx(announced_hour("B18", hour_start(hour)) + announced_hour("B19", hour_start(hour)))
    for column, psr_type in (("solar", "B16"), ("load", "")):
        for hour, mw in found[column].items():
            assert mw == pytest.approx(announced_hour(psr_type, hour_start(hour)))


async def test_answers_widened_to_market_days_are_cut_to_the_hours_that_were_asked_for(
    entsoe: Entsoe, now: datetime
) -> None:
    found = await entsoe.day_ahead(DE, start=now - 5 * HOUR, end=now - HOUR, now=now)

    assert all(list(values) == hours(hour_of(now) - 5 * HOUR, hour_of(now)) for values in found.values())
    assert found.keys() == {"wind", "solar", "load"}


async def test_a_long_past_comes_month_by_month_without_seams(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    start = hour_of(now) - 70 * DAY
    found = await entsoe.day_ahead(DE, start=start, end=now, now=now)

    assert [question.params["documentType"] for question in grid.questions] == ["A69"] * 3 + ["A65"] * 3
    spans = [(moment(q.params["periodStart"]), moment(q.params["periodEnd"])) for q in grid.questions]
    assert all(end - begin <= 31 * DAY for begin, end in spans)
    assert all(list(values) == hours(start, hour_of(now) + HOUR) for values in found.values())


async def test_nobody_is_asked_for_what_cannot_be_announced_yet(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    assert await entsoe.day_ahead(DE, start=now + 5 * DAY, end=now + 6 * DAY, now=now) == {}
    assert grid.questions == []
    await entsoe.day_ahead(DE, start=now, end=now + 100 * DAY, now=now)
    assert len(grid.questions) == 2


@pytest.mark.parametrize("status", [200, 400])
async def test_no_matching_data_for_one_document_is_an_empty_answer_and_the_other_counts(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, status: int
) -> None:
    load = document([flat("", 50_000, consumed=True)])
    grid.answer = lambda q: Reply(body=load) if q.params["documentType"] == "A65" else Reply(status, NO_DATA)

    assert await of_today(entsoe, now) == {"load": dict.fromkeys(hours(MIDNIGHT, MIDNIGHT + DAY), 50_000)}
    answers(grid)
    assert await of_today(entsoe, now) == {}


async def test_an_area_without_offshore_wind_or_sun_has_what_its_document_gives(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, wind_and_sun=document([flat("B19", 700)]))

    assert await of_today(entsoe, now) == {"wind": dict.fromkeys(hours(MIDNIGHT, MIDNIGHT + DAY), 700)}


async def test_an_hour_that_lacks_its_offshore_part_has_no_wind_and_keeps_its_sun(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    offshore = [flat("B18", 300, count=5), flat("B18", 300, start=MIDNIGHT + 7 * HOUR, count=17)]
    answers(grid, wind_and_sun=document([flat("B19", 700), *offshore, flat("B16", 50)]))

    found = await of_today(entsoe, now)
    lacking = {hour_number(MIDNIGHT) + 5, hour_number(MIDNIGHT) + 6}
    assert found["wind"] == dict.fromkeys(sorted(set(hours(MIDNIGHT, MIDNIGHT + DAY)) - lacking), 1000)
    assert found["solar"] == dict.fromkeys(hours(MIDNIGHT, MIDNIGHT + DAY), 50)


async def test_a_wind_type_is_missed_where_an_earlier_answer_had_it_until_it_has_been_silent_for_two_weeks(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, wind_and_sun=document([flat("B18", 300), flat("B19", 700)]))
    await of_today(entsoe, now)
    # What is asked later about long before does not make it older.
    before = MIDNIGHT - 40 * DAY
    answers(grid, wind_and_sun=document([flat("B18", 300, start=before), flat("B19", 700, start=before)]))
    await entsoe.day_ahead(DE, start=before, end=before + DAY, now=now)
    later = [flat("B19", 700, start=MIDNIGHT + n * DAY) for n in range(1, 20)]
    answers(grid, wind_and_sun=document(later))

    tomorrow = MIDNIGHT + DAY
    assert await entsoe.day_ahead(DE, start=tomorrow, end=tomorrow + DAY, now=now) == {}
    found = await entsoe.day_ahead(DE, start=tomorrow, end=tomorrow + 19 * DAY, now=now + 19 * DAY)
    assert min(found["wind"]) == hour_number(MIDNIGHT + 15 * DAY)
    # What one zone is made of says nothing of another.
    france = await entsoe.day_ahead(Zone("FR"), start=tomorrow, end=tomorrow + DAY, now=now)
    assert list(france["wind"]) == hours(tomorrow, tomorrow + DAY)


async def test_wind_of_before_the_first_turbine_at_sea_is_the_onshore_one(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    onshore = [flat("B19", 700, start=MIDNIGHT - n * DAY) for n in range(20)]
    answers(grid, wind_and_sun=document([*onshore, flat("B18", 300)]))

    found = (await entsoe.day_ahead(DE, start=MIDNIGHT - 19 * DAY, end=now, now=now))["wind"]
    assert found[hour_number(MIDNIGHT - 15 * DAY)] == 700
    assert hour_number(MIDNIGHT - 13 * DAY) not in found
    assert found[hour_number(MIDNIGHT)] == 1000


async def test_an_hour_of_which_a_quarter_is_missing_is_absent_of_that_column_alone(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    points = {n + 1: 100.0 * n for n in range(8) if n != 6}
    solar = Series("B16", points, MIDNIGHT, MIDNIGHT + 2 * HOUR, resolution="PT15M")
    answers(grid, wind_and_sun=document([solar, flat("B19", 700, count=2)]))

    first = hour_number(MIDNIGHT)
    assert await of_today(entsoe, now) == {"wind": {first: 700, first + 1: 700}, "solar": {first: 150}}


async def test_a_position_absent_from_an_a03_curve_repeats_the_one_before_and_from_an_a01_curve_is_a_gap(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    solar = Series("B16", {1: 800, 7: 400}, MIDNIGHT, MIDNIGHT + 3 * HOUR, resolution="PT15M", curve="A03")
    wind = Series("B19", {1: 800, 3: 400}, MIDNIGHT, MIDNIGHT + 3 * HOUR)
    answers(grid, wind_and_sun=document([solar, wind]))

    first = hour_number(MIDNIGHT)
    assert await of_today(entsoe, now) == {
        "wind": {first: 800, first + 2: 400},
        "solar": {first: 800, first + 1: 600, first + 2: 400},
    }


async def test_of_two_resolutions_the_finer_counts_and_series_that_occur_twice_count_once(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    finer = Series("", dict.fromkeys(range(1, 5), 40_000.0), MIDNIGHT, MIDNIGHT + HOUR, "PT15M", consumed=True)
    answers(grid, load=document([finer, flat("", 50_000, count=2, consumed=True), finer]))

    first = hour_number(MIDNIGHT)
    assert await of_today(entsoe, now) == {"load": {first: 40_000, first + 1: 50_000}}


async def test_what_is_generated_is_no_load_and_what_is_consumed_no_wind(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    strange = [flat("", 1), flat("B19", 2, consumed=True), flat("B04", 3)]
    answers(grid, wind_and_sun=document(strange), load=document(strange[:1]))

    assert await of_today(entsoe, now) == {}


@pytest.mark.parametrize("day_hours", [23, 25])
async def test_days_of_23_and_of_25_hours_have_as_many(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, day_hours: int
) -> None:
    start = datetime(2026, 3, 28, 23, tzinfo=UTC) if day_hours == 23 else datetime(2026, 10, 24, 22, tzinfo=UTC)
    points = {n + 1: float(n // 4) for n in range(4 * day_hours)}
    load = Series("", points, start, start + day_hours * HOUR, "PT15M", consumed=True)
    answers(grid, load=document([load]))

    found = await entsoe.day_ahead(DE, start=start, end=start + 2 * DAY, now=start + DAY)
    assert found == {"load": {hour_number(start) + n: n for n in range(day_hours)}}


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(400, acknowledgement("999", "Delivered time interval is not valid")), Permanent, "not valid"),
        (Reply(401, "<html><body>Missing or invalid security token</body></html>"), Permanent, "the entsoe token"),
        (Reply(429, "Max allowed requests per minute is up to 400 only"), Transient, "asked to wait 600 s"),
        (Reply(200, document([flat("", 1, consumed=True)])[:-40]), Transient, "not whole XML"),
        (Reply(200, document([flat("", 1, consumed=True)]), truncate=True), Transient, "broke off"),
        (Reply(200, document([flat("", 1, consumed=True, unit="MWH")])), Transient, "gives MWH, not MAW"),
    ],
)
async def test_a_document_that_fails_fails_the_question_rather_than_leave_its_columns_out(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    wind = document([flat("B19", 700)])
    grid.answer = lambda q: reply if q.params["documentType"] == "A65" else Reply(body=wind)

    with pytest.raises(kind, match=told) as caught:
        await of_today(entsoe, now)
    assert SECURITY_TOKEN not in str(caught.value)


async def test_a_wrong_token_is_told(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> None:
    stranger = Entsoe(client, token="not-theirs", base_url=f"{grid.url}/entsoe", patience=patience)
    with pytest.raises(Permanent, match="401"):
        await of_today(stranger, grid.now)


parts = st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=96).map(lambda mw: mw[: len(mw) // 4 * 4])


@given(mw=parts)
def test_the_means_of_quarter_hours_add_up_to_the_energy_of_the_hours(mw: list[float]) -> None:
    given_mw = {MIDNIGHT + n * QUARTER: value for n, value in enumerate(mw)}
    means, partly = _means({QUARTER: given_mw}, HOUR)

    assert not partly
    assert sum(means.values()) == pytest.approx(sum(value / 4 for value in mw), abs=1e-6)
    for hour, mean in means.items():
        whole = [given_mw[hour + n * QUARTER] for n in range(4)]
        assert sum(whole) / 4 == pytest.approx(mean, abs=1e-6)
        assert min(whole) - 1e-6 <= mean <= max(whole) + 1e-6


# EIA


def body_of(rows: list[dict[str, Any]], *, total: int | None = None) -> dict[str, Any]:
    return {"response": {"total": str(len(rows) if total is None else total), "data": rows}}


async def test_load_alone_is_asked_for_by_its_type_and_the_ends_of_its_hours(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    await eia.day_ahead(CISO, start=now - 3 * HOUR, end=now + 20 * HOUR, now=now)

    (question,) = grid.questions
    assert question.path == "/eia/electricity/rto/region-data/data/"
    assert question.params == {
        "frequency": "hourly",
        "data[]": "value",
        "facets[respondent][]": "CISO",
        "facets[type][]": "DF",
        "start": "2026-09-14T07",
        "end": "2026-09-15T06",
        "sort[0][column]": "period",
        "sort[0][direction]": "asc",
        "sort[1][column]": "type",
        "sort[1][direction]": "asc",
        "length": "5000",
        "offset": "0",
        "api_key": API_KEY,
    }


async def test_load_is_of_the_hour_before_its_stamp_and_reaches_to_tomorrow(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    start = hour_of(now) - 2 * DAY
    found = await eia.day_ahead(CISO, start=start, end=now + 4 * DAY, now=now)

    assert found.keys() == {"load"}
    assert list(found["load"]) == hours(start, MIDNIGHT + 2 * DAY + 8 * HOUR)
    assert all(mw == eia_load(hour_start(hour)) for hour, mw in found["load"].items())


async def test_hours_around_what_was_asked_for_and_rows_of_other_types_are_left_out(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    ends = [MIDNIGHT + n * HOUR for n in range(6)]
    rows = [eia_load_row(at, "100", "CISO", kind=kind) for at in ends for kind in ("D", "DF", "NG")]
    rows[7]["value"] = "250.5"
    grid.answer = lambda _: Reply(body=body_of(rows))

    first = hour_number(MIDNIGHT)
    found = await eia.day_ahead(CISO, start=MIDNIGHT, end=MIDNIGHT + 3 * HOUR, now=now)
    assert found == {"load": {first: 100, first + 1: 250.5, first + 2: 100}}


async def test_null_is_missing_and_an_authority_that_forecasts_nothing_has_no_column(
    eia: Eia, grid: FakeGrid, now: datetime
) -> None:
    grid.nulls = {MIDNIGHT + 2 * HOUR}
    found = await eia.day_ahead(CISO, start=MIDNIGHT, end=MIDNIGHT + 4 * HOUR, now=now)
    assert list(found["load"]) == [hour_number(MIDNIGHT) + n for n in (0, 1, 3)]

    grid.answer = lambda _: Reply(body=body_of([]))
    assert await eia.day_ahead(CISO, start=MIDNIGHT, end=MIDNIGHT + 4 * HOUR, now=now) == {}


async def test_more_rows_than_a_page_holds_come_page_by_page(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    start = hour_of(now) - 430 * DAY
    found = await eia.day_ahead(CISO, start=start, end=now, now=now)

    assert [question.params["offset"] for question in grid.questions] == ["0", "5000", "10000"]
    assert list(found["load"]) == hours(start, hour_of(now) + HOUR)


async def test_a_page_that_does_not_come_is_not_taken_for_the_end(eia: Eia, grid: FakeGrid, now: datetime) -> None:
    def answer(question: Question) -> Reply:
        rows = [eia_load_row(MIDNIGHT + HOUR, "100", "CISO")]
        return Reply(body=body_of(rows if question.params["offset"] == "0" else [], total=7000))

    grid.answer = answer
    with pytest.raises(Transient, match="1 of 7000 rows came"):
        await eia.day_ahead(CISO, start=MIDNIGHT, end=MIDNIGHT + DAY, now=now)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(403, {"error": {"message": "An invalid api_key was supplied."}}), Permanent, "check KILOWAIT_EIA_KEY"),
        (Reply(403, "Forbidden"), Transient, "taken for a pause"),
        (Reply(200, {"error": "Invalid facet", "code": 400}), Permanent, "Invalid facet"),
        (Reply(200, body_of([eia_load_row(MIDNIGHT, "1", "PJM")])), Transient, "respondent PJM"),
        (Reply(200, body_of([eia_load_row(MIDNIGHT, "x", "CISO")])), Transient, "got 'x'"),
        (Reply(200, body_of([{**eia_load_row(MIDNIGHT, "1", "CISO"), "period": "0001-01-01T00"}])), Transient, "hour"),
    ],
)
async def test_each_failure_is_told_without_the_key(
    eia: Eia, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    grid.answer = lambda _: reply

    with pytest.raises(kind, match=told) as caught:
        await eia.day_ahead(CISO, start=MIDNIGHT, end=MIDNIGHT + DAY, now=now)
    assert API_KEY not in str(caught.value)


# Both


async def test_a_span_without_length_and_a_strange_zone_are_refused(entsoe: Entsoe, eia: Eia, now: datetime) -> None:
    sources: list[tuple[Entsoe | Eia, Zone]] = [(entsoe, DE), (eia, CISO)]
    for source, zone in sources:
        with pytest.raises(Refused, match="no length"):
            await source.day_ahead(zone, start=now, end=now, now=now)
        with pytest.raises(Permanent, match="no zone AU-NSW"):
            await source.day_ahead(Zone("AU-NSW"), start=now, end=now + HOUR, now=now)
