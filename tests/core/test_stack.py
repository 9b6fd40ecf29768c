"""Many jobs in one pass: each has the figures, to the last bit, that it has alone, whatever the others are like."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Counterfactual, laid
from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.integral import Integral, emissions_of
from kilowait_scheduler.core.overhead import within
from kilowait_scheduler.core.savings import Case, savings
from kilowait_scheduler.core.stack import Stack

# A year's end in UTC, three hours before it in New York, and the days around it.
T0 = datetime(2026, 12, 31, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LIMITED = settings(max_examples=60, deadline=None)
PUE = {"aa": 1.1, "bb": 1.4}


def grid(values: list[float], *, hole: int) -> Integral:
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), v, i % 3 == 0) for i, v in enumerate(values) if i != hole]
    return Integral(IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots))


VALUES = st.lists(st.floats(-30, 900), min_size=48, max_size=48)
GRIDS = st.builds(
    lambda here, there, hole: {"aa": grid(here, hole=hole), "bb": grid(there, hole=-1)},
    VALUES,
    VALUES,
    st.integers(-1, 47),
)
COURSES = st.lists(
    st.builds(
        lambda at, length, mj, region, estimated: EnergyInterval(
            T0 + MINUTE * at, T0 + MINUTE * (at + length), mj, region, 5.0, estimated
        ),
        st.integers(0, 1500),
        st.integers(1, 90),
        st.integers(0, 10**14),
        st.sampled_from(("aa", "bb")),
        st.booleans(),
    ),
    max_size=6,
).map(Course.of)
SPANS = st.lists(
    st.builds(
        lambda a, length: (T0 + MINUTE * a, T0 + MINUTE * (a + length)), st.integers(0, 1500), st.integers(0, 90)
    ),
    max_size=3,
)
JOBS = st.lists(st.tuples(COURSES, SPANS, st.integers(0, 900), st.booleans()), min_size=1, max_size=6)
Job = tuple[Course, list[tuple[datetime, datetime]], int, bool]


def reckoned(jobs: list[Job], grids: dict[str, Integral]) -> list[object]:
    """All that a report reckons of these jobs, errors in words."""
    stack = Stack.of([course for course, *_ in jobs])
    useful, lost = within(stack, [spans for _, spans, *_ in jobs])
    packed, length_us = useful.compacted()
    places = [
        [("bb", T0 + MINUTE * at, T0 + MINUTE * (at + 20)), ("aa", T0 + MINUTE * (at + 40), T0 + MINUTE * (at + 90))]
        for _, _, at, _ in jobs
    ]
    against = [
        Counterfactual("aa", ((T0 + MINUTE * at, T0 + MINUTE * (at + 30)),), slack=HOUR if wait else timedelta(0))
        for _, _, at, wait in jobs
    ]
    cases = [Case(*parts) for parts in zip(useful.courses(), lost.courses(), against, strict=True)]
    of = np.arange(len(jobs), dtype=np.int64)
    start_us = np.array([to_us(T0 + MINUTE * at) for _, _, at, _ in jobs], dtype=np.int64)
    found = zip(
        emissions_of(stack, intensity=grids, pue=PUE),
        emissions_of(laid(useful, places), intensity=grids, pue=PUE),
        savings(cases, intensity=grids, pue=PUE),
        length_us.tolist(),
        stack.covered_us(start_us, start_us + 7_200_000_000, of).tolist(),
        [list(course) for course in packed.courses()],
        strict=True,
    )
    return [[str(one) if isinstance(one, ForecastersError) else one for one in figures] for figures in found]


@LIMITED
@given(JOBS, GRIDS)
def test_a_job_among_others_has_the_figures_that_it_has_alone(jobs: list[Job], grids: dict[str, Integral]) -> None:
    together = reckoned(jobs, grids)
    assert together == [reckoned([job], grids)[0] for job in jobs]


@LIMITED
@given(COURSES, st.lists(st.tuples(st.integers(-60, 1600), st.integers(0, 120)), max_size=4))
def test_what_is_covered_of_a_span_is_counted_minute_by_minute(course: Course, spans: list[tuple[int, int]]) -> None:
    minutes = {to_us(one.start) // 60_000_000 + n for one in course for n in range((one.end - one.start) // MINUTE)}
    begin = to_us(T0) // 60_000_000
    start = np.array([begin + a for a, _ in spans], dtype=np.int64)
    end = start + np.array([length for _, length in spans], dtype=np.int64)
    of = np.zeros(len(spans), dtype=np.int64)
    found = Stack.of([course]).covered_us(start * 60_000_000, end * 60_000_000, of)
    expected = [len(minutes & set(range(a, b))) for a, b in zip(start.tolist(), end.tolist(), strict=True)]
    assert (found // 60_000_000).tolist() == expected


@LIMITED
@given(COURSES)
def test_a_course_pushed_together_has_no_pause_and_all_of_its_energy(course: Course) -> None:
    packed, (length_us,) = Stack.of([course]).compacted()
    rows = list(packed.rows)
    assert sorted(one.energy_mj for one in rows) == sorted(one.energy_mj for one in course)
    reach = None
    for one in rows:
        assert reach is None or one.start <= reach
        reach = one.end if reach is None else max(reach, one.end)
    assert length_us == (0 if reach is None else (reach - rows[0].start) // timedelta(microseconds=1))


def test_energy_of_any_size_is_split_to_the_millijoule() -> None:
    """Millijoules times microseconds leave 64 bits: a thousand GPUs for an hour do."""
    whole = EnergyInterval(T0, T0 + HOUR, 1000 * 700 * 3_600_000 + 1, "aa")
    course = Course.of([whole, replace(whole, start=T0 + HOUR, end=T0 + 2 * HOUR)])
    edges = np.array([to_us(T0 + n * MINUTE) for n in (7, 31, 60, 61)], dtype=np.int64)
    pieces = list(Stack.of([course]).split(edges, np.zeros_like(edges)).rows)
    assert sum(one.energy_mj for one in pieces) == 2 * whole.energy_mj
    assert pieces[:3] == [whole.cut(T0 + a * MINUTE, T0 + b * MINUTE) for a, b in pairwise((0, 7, 31, 60))]
