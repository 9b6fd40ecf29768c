"""Generation by source: what it makes, and that what is not reported makes nothing clean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_forecasters.mix import FACTORS, STORED, MixSlot, Seen, by_fuel, intensities, whole
from kilowait_forecasters.signal import Scope

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 9, 1, tzinfo=UTC)


def hours(*mixes: dict[str, float], start: datetime = START) -> list[MixSlot]:
    return [MixSlot(start + n * HOUR, start + (n + 1) * HOUR, mw) for n, mw in enumerate(mixes)]


generation = st.dictionaries(st.sampled_from(sorted(FACTORS)), st.floats(0, 1e5), max_size=6)


@given(generation, st.sampled_from([Scope.LIFECYCLE, Scope.DIRECT]))
def test_intensity_lies_between_the_cleanest_and_the_dirtiest_source_and_nothing_makes_nothing(
    mw: dict[str, float], scope: Scope
) -> None:
    slots = intensities(hours(mw), scope=scope, provisional_from=START)

    if sum(mw.values()) == 0:
        assert slots == []
    else:
        factors = [FACTORS[fuel][scope is Scope.DIRECT] for fuel, value in mw.items() if value > 0]
        assert min(factors) - 1e-6 <= slots[0].g_per_kwh <= max(factors) + 1e-6


@given(generation, st.floats(1e-3, 1e3))
def test_intensity_does_not_depend_on_the_unit_of_generation(mw: dict[str, float], unit: float) -> None:
    one, other = (
        intensities(hours(given), scope=Scope.LIFECYCLE, provisional_from=START)
        for given in (mw, {fuel: value * unit for fuel, value in mw.items()})
    )

    if one and other:
        assert other[0].g_per_kwh == pytest.approx(one[0].g_per_kwh)


def test_codes_become_fuels_negative_is_none_stores_are_left_out_and_new_codes_are_unknown() -> None:
    (slot,) = by_fuel(
        hours({"a": 5, "b": 7, "c": -2, "store": 90, "new": 1}), {"a": "coal", "b": "coal", "c": "gas", "store": STORED}
    )

    assert slot.mw == {"coal": 12, "gas": 0, "unknown": 1}


def test_a_slot_that_lacks_what_gave_much_the_day_before_is_not_whole() -> None:
    day = hours(*[{"coal": 50.0, "wind": 50.0}] * 24)
    after = hours({"wind": 50.0}, {"coal": 0.0, "wind": 50.0}, start=START + DAY)

    assert whole([*day, *after]) == [*day, after[1]]


def test_a_source_that_gave_next_to_nothing_is_not_missed() -> None:
    day = hours(*[{"coal": 99.0, "geothermal": 1.0}] * 24)
    after = hours({"coal": 99.0}, start=START + DAY)

    assert whole([*day, *after]) == [*day, *after]


def test_the_sun_is_not_missed_at_night_where_it_is_left_out_every_night() -> None:
    day = [{"gas": 50.0, "solar": 50.0} if 6 <= hour < 18 else {"gas": 50.0} for hour in range(24)]

    assert len(whole(hours(*day, *day))) == 48


def test_a_plant_that_is_reported_no_more_is_missed_for_two_weeks_and_then_has_closed() -> None:
    slots = hours(*[{"nuclear": 50.0, "wind": 50.0}] * 48, *[{"wind": 50.0}] * 24 * 18)

    missing = {slot.start for slot in slots} - {slot.start for slot in whole(slots)}
    assert missing == {START + 2 * DAY + n * HOUR for n in range(24 * 14)}


def test_a_plant_that_is_reported_as_zero_for_three_days_is_missed_no_more() -> None:
    slots = hours(
        *[{"nuclear": 50.0, "wind": 50.0}] * 48, *[{"nuclear": 0.0, "wind": 5.0}] * 72, *[{"wind": 50.0}] * 48
    )

    assert whole(slots) == slots


@pytest.mark.parametrize("silent_days", [2, 4, 6, 13])
def test_a_source_that_is_silent_for_days_does_not_vouch_for_itself(silent_days: int) -> None:
    given = hours(*[{"coal": 50.0, "wind": 50.0}] * 24 * 7)
    silent = hours(*[{"wind": 50.0}] * 24 * silent_days, start=START + 7 * DAY)

    assert whole([*given, *silent]) == given


def test_sources_are_remembered_from_question_to_question() -> None:
    seen = Seen()
    given = hours(*[{"coal": 50.0, "wind": 50.0}] * 24 * 15)
    assert seen.asked_from("DE", given[-1].start) == given[-1].start - 14 * DAY
    assert seen.whole("DE", given) == given

    for day in range(10):
        silent = hours(*[{"wind": 50.0}] * 24, start=START + (15 + day) * DAY)
        assert seen.asked_from("DE", silent[0].start) == silent[0].start - 3 * DAY
        assert seen.whole("DE", silent) == []
    assert seen.whole("FR", silent) == silent


def test_values_are_provisional_from_a_moment_on() -> None:
    slots = intensities(hours({"gas": 1}, {"gas": 1}), scope=Scope.LIFECYCLE, provisional_from=START + HOUR)

    assert [slot.estimated for slot in slots] == [False, True]
