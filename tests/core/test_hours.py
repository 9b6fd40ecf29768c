"""Energy cut at full hours adds up to what it was cut from, hour by hour as counted one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kilowait_forecasters.errors import OutOfRange
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import EnergyInterval, emission
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.hours import by_hour, load_by_hour
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.stack import Stack

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
SERIES = IntensitySeries(
    zone=Zone("DE"),
    signal=AVERAGE_LIFECYCLE,
    source="test",
    slots=[Slot(START + QUARTER * n, START + QUARTER * (n + 1), 100.0 + n % 7) for n in range(4 * 96)],
)
intervals = st.builds(
    lambda start, length, energy_mj: EnergyInterval(
        START + timedelta(seconds=start), START + timedelta(seconds=start + length), energy_mj, "aa"
    ),
    st.integers(0, 48 * 3600),
    st.integers(1, 40 * 3600),
    st.integers(1, 10**12),
)


@given(st.lists(st.lists(intervals, max_size=6), max_size=4))
@example([[EnergyInterval(START, START + HOUR, 1, "aa")], [], [EnergyInterval(START, START + 2 * HOUR, 7, "aa")]])
def test_the_hours_of_each_course_hold_its_energy_and_carbon(courses: list[list[EnergyInterval]]) -> None:
    stack = Stack.of([Course.of(course) for course in courses])
    found = by_hour(stack, intensity=Integral(SERIES), pue=1.2)
    assert len(found) == len(courses)
    for course, pieces in zip(courses, found, strict=True):
        whole = [emission(one, intensity=SERIES, pue=1.2) for one in course]
        assert sum(kwh for _, kwh, _ in pieces) == pytest.approx(sum(one.energy_kwh for one in whole))
        assert sum(grams for _, _, grams in pieces) == pytest.approx(sum(one.carbon_g for one in whole))
        hours = [hour for hour, _, _ in pieces]
        assert hours == sorted(set(hours)), "each once, in order"
        load = load_by_hour(Course.of(course), pue=1.2)
        assert load == pytest.approx({hour: kwh for hour, kwh, _ in pieces})
        for hour, kwh in load.items():
            parts = ((max(one.start, hour), min(one.end, hour + HOUR), one) for one in course)
            there = (
                1.2 * one.kwh * ((end - start) / (one.end - one.start)) for start, end, one in parts if start < end
            )
            assert kwh == pytest.approx(sum(there))


def test_an_hour_that_is_not_known_is_told_as_the_series_tells_it() -> None:
    late = EnergyInterval(START + 95 * HOUR, START + 97 * HOUR, 5, "aa")
    with pytest.raises(OutOfRange):
        by_hour(Stack.of([Course.of([late])]), intensity=Integral(SERIES), pue=1.0)
