"""WattTime: logging in, whose region it is, pounds into grams, and that a margin stays one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from forecasters.fake_grid import FakeGrid, Question, Reply, truth
from forecasters.fake_services import FIVE, PASSWORD, USER, five_of
from kilowait_forecasters.errors import ForecastersError, Permanent, SignalMismatch, Transient
from kilowait_forecasters.providers.base import Access
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.providers.watttime import WattTime, region_of
from kilowait_forecasters.signal import AVERAGE_DIRECT, MARGINAL_DIRECT
from kilowait_forecasters.zone import Zone

CAISO = Zone("CAISO_NORTH")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def watttime(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> WattTime:
    return WattTime(
        client,
        username=USER,
        password=PASSWORD,
        base_url=f"{grid.url}/watttime",
        setting="KILOWAIT_WATTTIME_PASSWORD",
        patience=patience,
    )


def paths(grid: FakeGrid) -> list[str]:
    return [question.path.removeprefix("/watttime") for question in grid.questions]


async def test_one_login_serves_until_shortly_before_the_token_ends(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    for minutes in (0, 10, 28):
        grid.now = now + minutes * MINUTE
        await watttime.forecast(CAISO, now=grid.now, until=grid.now + HOUR)
    assert grid.watttime.logins == 1

    grid.now = now + 29 * MINUTE
    await watttime.forecast(CAISO, now=grid.now, until=grid.now + HOUR)
    assert grid.watttime.logins == 2
    assert paths(grid)[-2:] == ["/login", "/v3/forecast"]


async def test_a_token_that_ends_early_is_replaced_at_once_and_the_question_asked_again(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    await watttime.forecast(CAISO, now=now, until=now + HOUR)
    grid.watttime.valid.clear()
    grid.now = now + 10 * MINUTE

    assert (await watttime.forecast(CAISO, now=grid.now, until=grid.now + HOUR)).series.covers(
        grid.now, grid.now + HOUR
    )
    assert grid.watttime.logins == 2


async def test_many_zones_at_once_log_in_once(watttime: WattTime, grid: FakeGrid, now: datetime) -> None:
    grid.watttime.regions = {f"R{n}" for n in range(8)}
    await asyncio.gather(*(watttime.forecast(Zone(f"R{n}"), now=now, until=now + HOUR) for n in range(8)))

    assert grid.watttime.logins == 1


async def test_a_region_outside_the_plan_does_not_make_us_log_in_again_and_again(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    for minutes in range(5):
        with pytest.raises(Permanent, match=r"zone PJM_DC: 403: Forbidden; check KILOWAIT_WATTTIME_PASSWORD"):
            await watttime.forecast(Zone("PJM_DC"), now=now + minutes * MINUTE, until=now + HOUR)
    assert grid.watttime.logins == 1


async def test_a_wrong_password_is_permanent_and_shown_to_nobody(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    wrong = WattTime(client, username=USER, password="hunter2", base_url=f"{grid.url}/watttime", patience=patience)

    with pytest.raises(Permanent, match="watttime login: 403: Forbidden; check the watttime user") as caught:
        await wrong.forecast(CAISO, now=now, until=now + HOUR)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(Permanent, match="is empty"):
        WattTime(client, username="", password="x")


async def test_a_token_that_is_quoted_back_is_cut_out(watttime: WattTime, grid: FakeGrid, now: datetime) -> None:
    def answer(question: Question) -> Reply:
        if question.path.endswith("/login"):
            return Reply(200, {"token": "jwt-secret"})
        return Reply(400, {"detail": question.headers["authorization"]})

    grid.answer = answer
    with pytest.raises(Permanent, match=r"Bearer \*\*\*"):
        await watttime.forecast(CAISO, now=now, until=now + HOUR)


async def test_pounds_per_megawatt_hour_become_grams_per_kilowatt_hour_from_the_stamp_on(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    def answer(question: Question) -> Reply:
        if question.path.endswith("/login"):
            return Reply(200, {"token": "t"})
        meta = {
            "region": "CAISO_NORTH",
            "signal_type": "co2_moer",
            "units": "lbs_co2_per_mwh",
            "data_point_period_seconds": 300,
            "generated_at": five_of(now).isoformat(),
        }
        return Reply(200, {"data": [{"point_time": five_of(now).isoformat(), "value": 1000}], "meta": meta})

    grid.answer = answer
    forecast = await watttime.forecast(CAISO, now=now, until=now + MINUTE)
    (slot,) = forecast.series.slots
    assert slot.g_per_kwh == pytest.approx(453.59237)
    assert (slot.start, slot.end) == (five_of(now), five_of(now) + FIVE)
    assert forecast.issued_at == five_of(now)


async def test_a_margin_is_marginal_and_meets_no_average(watttime: WattTime, now: datetime) -> None:
    forecast = await watttime.forecast(CAISO, now=now, until=now + HOUR)

    assert forecast.signal == MARGINAL_DIRECT
    with pytest.raises(SignalMismatch, match="cannot be combined"):
        forecast.signal.require(AVERAGE_DIRECT)


@pytest.mark.parametrize(("ahead_h", "asked"), [(1, "2"), (20, "21"), (71, "72"), (200, "72")])
async def test_the_horizon_reaches_as_far_as_asked_and_never_beyond_theirs(
    watttime: WattTime, grid: FakeGrid, now: datetime, ahead_h: int, asked: str
) -> None:
    forecast = await watttime.forecast(CAISO, now=now, until=now + ahead_h * HOUR)

    assert grid.questions[-1].params["horizon_hours"] == asked
    assert forecast.series.covers(now, now + min(ahead_h, 71) * HOUR)


async def test_long_pasts_are_asked_for_in_ranges_they_answer_and_come_without_seams(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    series = await watttime.history(CAISO, start=now - 70 * DAY, end=now, now=now)

    spans = [
        datetime.fromisoformat(q.params["end"]) - datetime.fromisoformat(q.params["start"])
        for q in grid.questions
        if "start" in q.params
    ]
    assert len(spans) == 3
    assert all(span <= 32 * DAY for span in spans)
    assert series.covers(now - 70 * DAY, five_of(now))
    assert all(slot.g_per_kwh == pytest.approx(truth(slot.start)) for slot in series.slots[::50])
    assert all(slot.estimated for slot in series.slots)
    assert grid.questions[-1].params["start"].endswith("Z")


@pytest.mark.parametrize("listed", [None, [], [{"type": "LATE", "message": "Data is late"}]])
async def test_what_they_warn_of_is_noted(watttime: WattTime, grid: FakeGrid, now: datetime, listed: Any) -> None:
    grid.watttime.warnings = listed

    (part,) = (await watttime.forecast(CAISO, now=now, until=now + HOUR)).parts
    assert part.note == ("Data is late" if listed else "")


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"units": "kg_co2_per_mwh"}, "units kg_co2_per_mwh, not lbs_co2_per_mwh"),
        ({"signal_type": "co2_aoer"}, "signal_type co2_aoer, not co2_moer"),
        ({"region": "CAISO"}, "region CAISO, not CAISO_NORTH"),
        ({"data_point_period_seconds": 0}, "values last"),
        ({"data_point_period_seconds": None}, "values last"),
        ({"generated_at": None}, "expected a time"),
        ({"generated_at": "2026-09-14T10:14:25+00:00"}, "stamped 2026-09-14T10:14:25"),
    ],
)
async def test_an_answer_about_something_else_is_not_used(
    watttime: WattTime, grid: FakeGrid, now: datetime, meta: dict[str, Any], told: str
) -> None:
    def answer(question: Question) -> Reply:
        reply = grid.well_behaved(question)
        if isinstance(reply.body, dict) and "meta" in reply.body:
            reply.body["meta"] |= meta
        return reply

    grid.answer = answer
    with pytest.raises(Transient, match=told):
        await watttime.forecast(CAISO, now=now, until=now + HOUR)


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (Reply(422, {"detail": [{"loc": ["query", "start"], "msg": "Field required"}]}), Permanent, "Field required"),
        (Reply(429, "Too Many Requests"), Transient, "Too Many Requests"),
        (Reply(403, "<html><title>ERROR: The request could not be satisfied</title></html>"), Permanent, "ERROR"),
        (Reply(200, "<html>hello</html>"), Transient, "a web page came"),
        (Reply(200, {"data": []}), Transient, "expected an object"),
        (Reply(503, ""), Transient, "503"),
    ],
)
async def test_each_known_failure_is_told_in_one_line(
    watttime: WattTime, grid: FakeGrid, now: datetime, reply: Reply, kind: type[ForecastersError], told: str
) -> None:
    def answer(question: Question) -> Reply:
        return grid.well_behaved(question) if question.path.endswith("/login") else reply

    grid.answer = answer
    with pytest.raises(kind) as caught:
        await watttime.forecast(CAISO, now=now, until=now + HOUR)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": 5}, {"token": "a\nb"}, [], "x"])
async def test_a_login_without_a_token_is_a_passing_failure(
    watttime: WattTime, grid: FakeGrid, now: datetime, body: Any
) -> None:
    grid.answer = lambda _: Reply(200, body)

    with pytest.raises(Transient, match="watttime login"):
        await watttime.forecast(CAISO, now=now, until=now + HOUR)


async def test_a_place_has_a_region_of_theirs_for_this_signal(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    assert await watttime.region_at(37.77, -122.42, now=now) == "CAISO_NORTH"
    assert grid.questions[-1].params == {"latitude": "37.77000", "longitude": "-122.42000", "signal_type": "co2_moer"}
    with pytest.raises(Permanent, match="no region"):
        await watttime.region_at(-40, -140, now=now)


def test_a_zone_of_ours_in_one_region_of_theirs_is_that_one_and_in_several_it_is_refused() -> None:
    assert region_of(Zone("US-SE-SOCO")) == "SOCO"
    assert region_of(Zone("CAISO_NORTH")) == "CAISO_NORTH"
    with pytest.raises(Permanent, match=r"zone US-MIDA-PJM holds PJM_\w+, PJM_"):
        region_of(Zone("US-MIDA-PJM"))


async def test_what_the_account_may_ask_for_is_what_they_say(watttime: WattTime, grid: FakeGrid, now: datetime) -> None:
    assert await watttime.access(now=now) == [Access("CAISO_NORTH", MARGINAL_DIRECT, forecast=True, history=True)]


async def test_a_log_in_that_failed_is_not_tried_again_by_each_zone_but_soon(
    watttime: WattTime, grid: FakeGrid, now: datetime
) -> None:
    grid.answer = lambda _: Reply(403, "Forbidden")
    asked = (watttime.forecast(Zone(f"R{n}"), now=now, until=now + HOUR) for n in range(8))
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(failure, Permanent) for failure in failures)
    assert paths(grid) == ["/login"]

    grid.answer = None
    later = now + timedelta(seconds=10)
    await watttime.forecast(CAISO, now=later, until=later + HOUR)
    assert grid.watttime.logins == 1
