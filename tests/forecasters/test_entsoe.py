"""ENTSO-E: what its documents mean, where they lie by omission, and how it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasters.fake_entsoe import NO_DATA, SECURITY_TOKEN, Series, acknowledgement, document, moment
from forecasters.fake_grid import FakeGrid, Reply, hour_of, truth
from kilowait_forecasters.cloud import cloud_regions
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.mix import FACTORS
from kilowait_forecasters.providers.entsoe import AREAS, Entsoe
from kilowait_forecasters.providers.entsoe_xml import curves
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Scope
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 9, 14, tzinfo=UTC)
COAL, WIND = FACTORS["coal"][0], FACTORS["wind"][0]


@pytest.fixture
def entsoe(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> Entsoe:
    return Entsoe(client, token=f" {SECURITY_TOKEN}\n", base_url=f"{grid.url}/entsoe", patience=patience)


def answers(grid: FakeGrid, body: str, status: int = 200) -> None:
    grid.answer = lambda _: Reply(status, body)


def flat(psr_type: str, value: float, *, hours: int = 9, **more: object) -> Series:
    """The same MW in the first `hours` hours of the day."""
    given = dict.fromkeys(range(1, hours + 1), value)
    return Series(psr_type, given, MIDNIGHT, MIDNIGHT + DAY, **more)  # type: ignore[arg-type]


async def test_the_question_is_for_realised_generation_of_the_area_in_their_spelling_of_time(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    await entsoe.history(DE, start=now - 5 * HOUR, end=now, now=now)

    (question,) = grid.questions
    assert question.params == {
        "documentType": "A75",
        "processType": "A16",
        "in_Domain": AREAS["DE"],
        "periodStart": "202608310400",  # two weeks of context, which show what is missing
        "periodEnd": "202609141014",
        "securityToken": SECURITY_TOKEN,
    }


async def test_intensity_is_generation_times_factor_over_generation(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, document([flat("B02", 300), flat("B05", 100), flat("B19", 400), flat("B18", 200)]))

    series = await entsoe.history(DE, start=MIDNIGHT, end=now, now=now)
    assert series.signal == AVERAGE_LIFECYCLE
    assert {slot.g_per_kwh for slot in series.slots} == {0.4 * COAL + 0.6 * WIND}
    assert (series.start, series.end) == (MIDNIGHT, MIDNIGHT + 9 * HOUR)


async def test_direct_emissions_have_factors_of_their_own(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    direct = Entsoe(client, token=SECURITY_TOKEN, scope=Scope.DIRECT, base_url=f"{grid.url}/entsoe", patience=patience)
    answers(grid, document([flat("B04", 500), flat("B14", 500)]))

    series = await direct.history(DE, start=MIDNIGHT, end=now, now=now)
    assert series.signal == AVERAGE_DIRECT
    assert series.at(MIDNIGHT) == FACTORS["gas"][1] / 2
    with pytest.raises(Refused, match="operational"):
        Entsoe(client, token="t", scope=Scope.OPERATIONAL)


async def test_a_position_absent_from_an_a03_curve_repeats_the_one_before_to_the_end_of_the_period(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    coal = Series("B05", {1: 800, 3: 400}, MIDNIGHT, MIDNIGHT + 6 * HOUR, curve="A03")
    answers(grid, document([coal, flat("B19", 400, hours=6)]))

    mix = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert [slot.mw["coal"] for slot in mix] == [800, 800, 400, 400, 400, 400]


async def test_a_position_absent_from_an_a01_curve_is_a_gap(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    coal = Series("B05", {1: 800, 3: 400}, MIDNIGHT, MIDNIGHT + 6 * HOUR)
    answers(grid, document([coal, flat("B19", 400, hours=6)]))

    series = await entsoe.history(DE, start=MIDNIGHT, end=now, now=now)
    assert [slot.start for slot in series.slots] == [MIDNIGHT, MIDNIGHT + 2 * HOUR]


async def test_an_a03_curve_whose_first_position_is_absent_has_nothing_to_repeat() -> None:
    coal = Series("B05", {3: 400}, MIDNIGHT, MIDNIGHT + 4 * HOUR, curve="A03")

    (curve,) = curves(document([coal]), who="entsoe")
    assert curve.values == {MIDNIGHT + 2 * HOUR: 400, MIDNIGHT + 3 * HOUR: 400}


async def test_what_is_consumed_to_pump_is_not_generation(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    answers(grid, document([flat("B05", 500), flat("B10", 2000, consumed=True), flat("B10", 300), flat("B19", 500)]))

    (first, *_) = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert first.mw == {"coal": 500, "wind": 500}


async def test_quarter_hours_and_hours_in_one_document_meet_in_hours(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    wind = Series("B19", {n + 1: 100.0 * n for n in range(12)}, MIDNIGHT, MIDNIGHT + 3 * HOUR, resolution="PT15M")
    answers(grid, document([flat("B05", 500, hours=3), wind]))

    mix = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert [slot.mw for slot in mix] == [{"coal": 500, "wind": 150 + 400 * n} for n in range(3)]
    assert {slot.end - slot.start for slot in mix} == {HOUR}


async def test_an_hour_of_which_a_quarter_is_missing_is_not_whole(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    points = {n + 1: 100.0 for n in range(8) if n != 6}
    wind = Series("B19", points, MIDNIGHT, MIDNIGHT + 2 * HOUR, resolution="PT15M")
    answers(grid, document([flat("B05", 500, hours=2), wind]))

    assert [slot.start for slot in await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)] == [MIDNIGHT]


@pytest.mark.parametrize("finer_first", [True, False])
async def test_of_one_source_in_two_resolutions_the_finer_counts_where_it_is_whole(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, finer_first: bool
) -> None:
    points = {n + 1: 200.0 for n in range(8) if n != 6}
    finer = Series("B05", points, MIDNIGHT, MIDNIGHT + 2 * HOUR, resolution="PT15M")
    two = [finer, flat("B05", 500, hours=3)]
    answers(grid, document([*(two if finer_first else two[::-1]), flat("B19", 500, hours=4)]))

    mix = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert [slot.mw["coal"] for slot in mix] == [200, 500, 500]  # the fourth hour lacks coal


async def test_even_a_small_source_given_in_part_makes_its_hour_a_gap(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    oil = Series("B06", {n + 1: 1.0 for n in range(7)}, MIDNIGHT, MIDNIGHT + 2 * HOUR, resolution="PT15M")
    answers(grid, document([oil, flat("B05", 500, hours=2)]))

    assert [slot.start for slot in await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)] == [MIDNIGHT]


async def test_quarter_hours_alone_stay_quarter_hours(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    points = {n + 1: 100.0 for n in range(8)}
    answers(
        grid,
        document([Series(psr, points, MIDNIGHT, MIDNIGHT + 2 * HOUR, resolution="PT15M") for psr in ("B05", "B19")]),
    )

    series = await entsoe.history(DE, start=MIDNIGHT, end=now, now=now)
    assert {slot.end - slot.start for slot in series.slots} == {QUARTER}
    assert len(series.slots) == 8


async def test_the_newest_hours_that_lack_a_source_of_weight_are_left_out(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    # Coal has not reported since six; without it the grid would look clean.
    answers(grid, document([flat("B05", 500, hours=6), flat("B19", 500), flat("B09", 1, hours=2)]))

    series = await entsoe.history(DE, start=MIDNIGHT, end=now, now=now)
    assert series.end == MIDNIGHT + 6 * HOUR
    assert min(slot.g_per_kwh for slot in series.slots) > 400


async def test_what_is_missing_is_known_from_the_day_before_even_where_only_the_last_hour_is_asked_for(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    coal = Series("B05", dict.fromkeys(range(1, 33), 500.0), MIDNIGHT - DAY, MIDNIGHT + DAY)
    wind = Series("B19", dict.fromkeys(range(1, 34), 500.0), MIDNIGHT - DAY, MIDNIGHT + DAY)
    answers(grid, document([coal, wind]))

    with pytest.raises(Transient, match="ask again"):
        await entsoe.history(DE, start=MIDNIGHT + 8 * HOUR, end=now, now=now)


async def test_negative_generation_counts_as_none_and_a_new_type_as_unknown(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    answers(grid, document([flat("B16", -5), flat("B05", 500), flat("B99", 100)]))

    (first, *_) = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert first.mw == {"solar": 0, "coal": 500, "unknown": 100}


async def test_series_that_occur_twice_count_once(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    answers(grid, document([flat("B05", 500), flat("B05", 500), flat("B19", 500)]))

    (first, *_) = await entsoe.mix(DE, start=MIDNIGHT, end=now, now=now)
    assert first.mw == {"coal": 500, "wind": 500}


async def test_points_out_of_order_are_read_by_their_position() -> None:
    (curve,) = curves(document([Series("B05", {3: 3, 1: 1, 2: 2}, MIDNIGHT, MIDNIGHT + 3 * HOUR)]), who="entsoe")

    assert curve.values == {MIDNIGHT: 1, MIDNIGHT + HOUR: 2, MIDNIGHT + 2 * HOUR: 3}


async def test_days_of_23_and_of_25_hours_are_periods_like_others() -> None:
    for hours in (23, 25):
        start = datetime(2026, 3, 28, 23, tzinfo=UTC)
        given = {n + 1: float(n) for n in range(hours)}
        (curve,) = curves(document([Series("B05", given, start, start + hours * HOUR)]), who="entsoe")
        assert len(curve.values) == hours
        assert max(curve.values) == start + (hours - 1) * HOUR


async def test_answers_widened_to_market_days_are_cut_to_what_was_asked(entsoe: Entsoe, now: datetime) -> None:
    start, end = now - 6 * HOUR, now - 3 * HOUR

    series = await entsoe.history(DE, start=start, end=end, now=now)
    assert (series.start, series.end) == (hour_of(start), hour_of(end) + HOUR)


async def test_long_pasts_are_asked_for_month_by_month_and_come_without_seams(
    entsoe: Entsoe, grid: FakeGrid, now: datetime
) -> None:
    series = await entsoe.history(DE, start=now - 70 * DAY, end=now, now=now)

    spans = [(moment(q.params["periodStart"]), moment(q.params["periodEnd"])) for q in grid.questions]
    assert len(spans) == 3
    assert all(end - start <= 31 * DAY for start, end in spans)
    assert series.covers(now - 70 * DAY, hour_of(now) - HOUR)
    assert all(slot.g_per_kwh == pytest.approx(truth(slot.start)) for slot in series.slots)


async def test_values_are_provisional_for_two_days(entsoe: Entsoe, now: datetime) -> None:
    series = await entsoe.history(DE, start=now - 3 * DAY, end=now, now=now)

    assert not series.slot_at(now - 49 * HOUR).estimated
    assert series.slot_at(now - 47 * HOUR).estimated


@pytest.mark.parametrize("status", [200, 400])
async def test_no_matching_data_is_none_yet_whatever_its_status_and_is_not_asked_for_thrice(
    entsoe: Entsoe, grid: FakeGrid, now: datetime, status: int
) -> None:
    answers(grid, NO_DATA, status)

    with pytest.raises(Transient, match="no realised value for DE"):
        await entsoe.history(DE, start=now - 5 * HOUR, end=now, now=now)
    assert len(grid.questions) == 1


@pytest.mark.parametrize(
    ("reply", "kind", "told"),
    [
        (
            Reply(400, acknowledgement("999", "The amount of data exceeds the maximum")),
            Permanent,
            "exceeds the maximum",
        ),
        (Reply(200, acknowledgement("A01", "Mandatory parameter")), Permanent, "Mandatory parameter"),
        (Reply(401, "<html><body>Missing or invalid security token</body></html>"), Permanent, "KILOWAIT_ENTSOE_TOKEN"),
        (Reply(429, "Max allowed requests per minute is up to 400 only"), Transient, "asked to wait 600 s"),
        (Reply(200, "<html><body>Maintenance</body></html>"), Transient, "a html came"),
        (Reply(200, "<!DOCTYPE html><html>Maintenance</html>"), Transient, "they send neither"),
        (Reply(200, document([flat("B05", 1)])[:-40]), Transient, "not whole XML"),
        (Reply(200, b""), Transient, "empty"),
        (Reply(200, b"\xff\xfe\x00"), Transient, "no text"),
        (Reply(200, document([flat("B05", 1, unit="MWH")])), Transient, "gives MWH, not MAW"),
        (Reply(200, document([flat("B05", 1, resolution="P1D")])), Transient, "unknown resolution P1D"),
        (Reply(200, document([flat("B05", 1, hours=25)])), Transient, "position 25 in a period of 24"),
        (Reply(200, document([flat("B05", float("nan"))])), Transient, "expected a quantity, got 'nan'"),
        (Reply(200, document([Series("B05", {1: 1}, MIDNIGHT, MIDNIGHT)])), Transient, "a period runs from"),
        (Reply(200, document([flat("B05", 1)]), truncate=True), Transient, "broke off"),
    ],
)
async def test_each_known_failure_is_told_in_one_line_without_the_token(
    grid: FakeGrid,
    client: httpx.AsyncClient,
    patience: Patience,
    now: datetime,
    reply: Reply,
    kind: type[ForecastersError],
    told: str,
) -> None:
    entsoe = Entsoe(
        client,
        token=SECURITY_TOKEN,
        base_url=f"{grid.url}/entsoe",
        setting="KILOWAIT_ENTSOE_TOKEN",
        patience=patience,
    )
    grid.answer = lambda _: reply

    with pytest.raises(kind) as caught:
        await entsoe.history(DE, start=now - 5 * HOUR, end=now, now=now)
    assert told in str(caught.value)
    assert "zone DE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECURITY_TOKEN not in str(caught.value)


async def test_a_token_that_is_quoted_back_is_cut_out(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    grid.answer = lambda question: Reply(401, f"bad token {question.params['securityToken']}")

    with pytest.raises(Permanent, match=r"bad token \*\*\*"):
        await entsoe.history(DE, start=now - 5 * HOUR, end=now, now=now)


async def test_a_connection_that_drops_is_a_passing_failure(entsoe: Entsoe, grid: FakeGrid, now: datetime) -> None:
    grid.faults = [Reply(200, document([flat("B05", 1)]), truncate=True)] * 2

    assert (await entsoe.history(DE, start=now - 5 * HOUR, end=now, now=now)).slots
    assert len(grid.questions) == 3


def test_documents_of_any_version_are_read() -> None:
    for version in ("3:0", "4:2", "12:7"):
        assert len(curves(document([flat("B05", 1)], version=version), who="entsoe")) == 1


def test_entities_which_xml_can_be_made_to_explode_with_are_refused() -> None:
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><GL_MarketDocument>&a;</GL_MarketDocument>'

    with pytest.raises(Transient, match="they send neither"):
        curves(bomb, who="entsoe")


def test_area_codes_are_those_of_the_table_of_cloud_regions() -> None:
    for region in cloud_regions():
        if region.entsoe_area is not None:
            assert AREAS[region.zone.id] == region.entsoe_area


def test_an_empty_token_is_told_at_once(client: httpx.AsyncClient) -> None:
    with pytest.raises(Permanent, match="KILOWAIT_ENTSOE_TOKEN is empty"):
        Entsoe(client, token=" ", setting="KILOWAIT_ENTSOE_TOKEN")


pieces = st.sampled_from(
    [
        "<GL_MarketDocument>", "</GL_MarketDocument>", "<TimeSeries>", "</TimeSeries>", "<Period>", "</Period>",
        "<Point>", "</Point>", "<position>1</position>", "<position>x</position>", "<quantity>5</quantity>",
        "<quantity/>", "<resolution>PT60M</resolution>", "<start>2026-09-14T00:00Z</start>", "<timeInterval>",
        "</timeInterval>", "<end>2026-09-15T00:00Z</end>", "<quantity_Measure_Unit.name>MAW", "&amp;", "\x00",
        "</quantity_Measure_Unit.name>", "<Acknowledgement_MarketDocument>", "<end>9999-12-31T00:00Z</end>",
    ]
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.lists(pieces, max_size=25).map("".join) | st.text(max_size=60))
def test_whatever_text_comes_the_answer_is_curves_or_one_of_our_errors(text: str) -> None:
    try:
        curves(text, who="entsoe")
    except ForecastersError as error:
        assert "\n" not in str(error)


def test_an_acknowledgement_without_a_reason_is_not_taken_for_no_data() -> None:
    with pytest.raises(Transient, match="does not say of what"):
        curves('<Acknowledgement_MarketDocument xmlns="urn"/>', who="entsoe")
