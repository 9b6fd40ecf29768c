"""Five minutes of readings as one row: the same energy, carbon and time, in fewer rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import Signal
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import Emission, EnergyInterval, emissions
from kilowait_scheduler.core.coarse import coarsened
from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.stack import Stack

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NO_EDGES = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


def interval(start_s: float, end_s: float, energy_mj: int, **rest: object) -> EnergyInterval:
    region = str(rest.pop("region", "here"))
    return EnergyInterval(T0 + SECOND * start_s, T0 + SECOND * end_s, energy_mj, region, **rest)  # type: ignore[arg-type]


def coarse(rows: list[EnergyInterval], edges: list[datetime] = []) -> list[EnergyInterval]:  # noqa: B006
    edges_us = np.array([to_us(edge) for edge in edges], dtype=np.int64)
    found = coarsened(Stack.of([Course.of(rows)]), edges_us, np.zeros(len(edges), dtype=np.int64))
    return list(found.course(0))


def test_half_minutes_of_two_devices_become_one_row_for_every_five_minutes() -> None:
    rows = [interval(30 * n, 30 * n + 30, 1000 + device) for n in range(20) for device in (0, 1)]
    assert coarse(rows) == [interval(0, 300, 10 * 2001), interval(300, 600, 10 * 2001)]


def test_a_reading_across_five_minutes_is_cut_there_pro_rata() -> None:
    assert coarse([interval(290, 320, 3001)]) == [interval(290, 300, 1000), interval(300, 320, 2001)]


def test_longer_readings_stay_as_they_are_and_those_of_one_span_become_one() -> None:
    rows = [interval(10, 610, 5), interval(10, 610, 7), interval(10, 640, 9)]
    assert coarse(rows) == [interval(10, 610, 12), interval(10, 640, 9)]


def test_a_pause_within_five_minutes_stays_a_pause() -> None:
    rows = [interval(0, 30, 1), interval(30, 60, 2), interval(90, 120, 4)]
    assert coarse(rows) == [interval(0, 60, 3), interval(90, 120, 4)]


def test_other_regions_and_estimates_stay_apart() -> None:
    rows = [interval(0, 30, 1), interval(30, 60, 2, region="there"), interval(60, 90, 4, estimated=True)]
    assert coarse(rows) == rows


def test_no_row_lies_across_an_edge() -> None:
    rows = [interval(30 * n, 30 * n + 30, 300) for n in range(10)]
    assert coarse(rows, [T0 + 100 * SECOND]) == [interval(0, 100, 1000), interval(100, 300, 2000)]


def test_the_uncertainty_is_the_mean_by_energy() -> None:
    rows = [interval(0, 30, 1000, uncertainty_pct=5.0), interval(30, 60, 3000, uncertainty_pct=1.0)]
    assert coarse(rows) == [interval(0, 60, 4000, uncertainty_pct=2.0)]


def test_nothing_stays_nothing() -> None:
    assert coarse([]) == []
    assert len(coarsened(Stack.of([]), *NO_EDGES)) == 0


def test_rows_that_are_equal_but_for_their_region_are_in_order_of_its_name_whatever_is_stacked_with_them() -> None:
    rows = [interval(0, 1, 1, region="there"), interval(0, 1, 1, region="here")]
    assert [one.region for one in coarse(rows)] == ["here", "there"]


REGIONS = ("here", "there")
ROW = st.builds(
    lambda start, long, energy, region, doubt, estimated: interval(
        start, start + long, energy, region=region, uncertainty_pct=doubt, estimated=estimated
    ),
    st.integers(0, 4000),
    st.one_of(st.integers(1, 60), st.integers(200, 1500)),
    st.integers(1, 10**9),
    st.sampled_from(REGIONS),
    st.sampled_from((0.5, 5.0, 10.0)),
    st.booleans(),
)
COURSES = st.lists(st.lists(ROW, max_size=30), min_size=1, max_size=3)
EDGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5000)), max_size=4)


def stacked(courses: list[list[EnergyInterval]]) -> Stack:
    return Stack.of([Course.of(rows) for rows in courses])


def edges_of(edges: list[tuple[int, int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    some = [(of, to_us(T0 + SECOND * at)) for of, at in edges if of < count]
    return np.array([at for _, at in some], dtype=np.int64), np.array([of for of, _ in some], dtype=np.int64)


def grams(rows: list[EnergyInterval]) -> Emission:
    slots = [
        Slot(T0 + timedelta(minutes=5 * n), T0 + timedelta(minutes=5 * n + 5), 50.0 + 37 * (n * n % 11), n % 3 == 0)
        for n in range(20)
    ]
    series = IntensitySeries(zone=Zone("XX"), signal=Signal.parse("average/lifecycle"), source="test", slots=slots)
    return emissions(rows, intensity=dict.fromkeys(REGIONS, series), pue={"here": 1.1, "there": 1.3})


@given(COURSES, EDGES)
def test_energy_carbon_and_time_stay_the_same_and_again_changes_nothing(
    courses: list[list[EnergyInterval]], edges: list[tuple[int, int]]
) -> None:
    before, at = stacked(courses), edges_of(edges, len(courses))
    after = coarsened(before, *at)
    assert len(after) == len(before)
    for number, rows in enumerate(courses):
        course = after.course(number)
        assert len(course) <= len(before.split(*at).course(number)) + 2 * len(rows)
        for region in REGIONS:
            for kind in (True, False):
                mine = [one.energy_mj for one in rows if (one.region, one.estimated) == (region, kind)]
                now = [one.energy_mj for one in course if (one.region, one.estimated) == (region, kind)]
                assert sum(now) == sum(mine)
        was, now_g = grams(rows), grams(list(course))
        assert now_g.carbon_g == pytest.approx(was.carbon_g, rel=1e-6, abs=1e-6)
        assert now_g.estimated_g == pytest.approx(was.estimated_g, rel=1e-6, abs=1e-6)
        assert now_g.meter_uncertainty_g == pytest.approx(was.meter_uncertainty_g, rel=1e-6, abs=1e-6)
    span = (np.full(len(courses), to_us(T0)), np.full(len(courses), to_us(T0 + 6000 * SECOND)), np.arange(len(courses)))
    assert after.covered_us(*span).tolist() == before.covered_us(*span).tolist()
    again = coarsened(after, *at)
    assert [list(course) for course in again.courses()] == [list(course) for course in after.courses()]


@given(COURSES, EDGES)
def test_a_course_is_the_same_alone_as_among_others(
    courses: list[list[EnergyInterval]], edges: list[tuple[int, int]]
) -> None:
    together = coarsened(stacked(courses), *edges_of(edges, len(courses)))
    for number, rows in enumerate(courses):
        alone = coarsened(stacked([rows]), *edges_of([(0, at) for of, at in edges if of == number], 1))
        assert list(alone.course(0)) == list(together.course(number))
