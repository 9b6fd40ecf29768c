"""A course in columns says what its intervals say one by one: the same grams, the same millijoules, the same gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import Gap, OutOfRange
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import EnergyInterval, emissions
from kilowait_scheduler.core.course import Course, joined, to_us
from kilowait_scheduler.core.integral import Integral, emission_of
from one_job import split

T0 = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PUE = {"aa": 1.1, "bb": 1.4}
LIMITED = settings(max_examples=80, deadline=None)


def series(values: list[tuple[float, bool]], *, minutes: int = 60, leave_out: int = -1) -> IntensitySeries:
    slots = [
        Slot(T0 + minutes * MINUTE * i, T0 + minutes * MINUTE * (i + 1), value, estimated)
        for i, (value, estimated) in enumerate(values)
        if i != leave_out
    ]
    return IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


INTERVALS = st.lists(
    st.builds(
        lambda at, length, mj, region, estimated: EnergyInterval(
            T0 + at * timedelta(seconds=1), T0 + (at + length) * timedelta(seconds=1), mj, region, 5.0, estimated
        ),
        st.integers(0, 36_000),
        st.integers(1, 9_000),
        st.integers(0, 10**13),
        st.sampled_from(("aa", "bb")),
        st.booleans(),
    ),
    max_size=12,
)
VALUES = st.lists(st.tuples(st.floats(-30, 900), st.booleans()), min_size=150, max_size=150)


@LIMITED
@given(INTERVALS, VALUES, st.sampled_from((5, 15, 60)))
def test_a_course_emits_what_its_intervals_emit_slot_by_slot(
    intervals: list[EnergyInterval], values: list[tuple[float, bool]], minutes: int
) -> None:
    grid = {"aa": series(values, minutes=minutes), "bb": series(values[::-1], minutes=minutes)}
    intervals = [one for one in intervals if one.end <= grid["aa"].end]
    course = Course.of(intervals)
    assert list(course) == intervals
    found = emission_of(course, intensity={name: Integral(one) for name, one in grid.items()}, pue=PUE)
    expected = emissions(intervals, intensity=grid, pue=PUE)
    for name in ("carbon_g", "energy_kwh", "estimated_g", "meter_uncertainty_g"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9, abs=1e-6)


@LIMITED
@given(INTERVALS, st.lists(st.integers(-100, 46_000), max_size=6))
def test_a_course_split_at_any_edges_is_the_same_energy_to_the_millijoule(
    intervals: list[EnergyInterval], edges: list[int]
) -> None:
    course = Course.of(intervals)
    at = [to_us(T0 + edge * timedelta(seconds=1)) for edge in edges]
    pieces = split(course, at)
    assert int(pieces.energy_mj.sum()) == sum(one.energy_mj for one in intervals)
    assert int((pieces.end_us - pieces.start_us).sum()) == int((course.end_us - course.start_us).sum())
    assert not any(start < edge < end for start, end in zip(pieces.start_us, pieces.end_us, strict=True) for edge in at)
    assert len(joined([pieces, course])) == len(pieces) + len(course)


def test_what_is_not_known_is_refused_and_named() -> None:
    values = [(100.0, False)] * 4
    inside = Course.of([EnergyInterval(T0 + 50 * MINUTE, T0 + 130 * MINUTE, 10, "aa")])
    with pytest.raises(Gap, match="no value from 2026-11-23T01:00"):
        emission_of(inside, intensity={"aa": Integral(series(values, leave_out=1))}, pue=PUE)
    for start, end in ((-10, 10), (200, 300), (300, 310)):
        beyond = Course.of([EnergyInterval(T0 + start * MINUTE, T0 + end * MINUTE, 10, "aa")])
        with pytest.raises(OutOfRange):
            emission_of(beyond, intensity={"aa": Integral(series(values))}, pue=PUE)
