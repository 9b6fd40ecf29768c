"""run-now@1: first come, first served, under capacity; mean-start@1; and the useful work pushed together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Arrival, mean_start_emissions, run_now_starts
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval, emission
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.integral import Integral
from one_job import compact, laid

T0 = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LIMITED = settings(max_examples=100, deadline=None)

JOBS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 10), st.integers(0, 30), st.sampled_from(("aa", "bb"))), max_size=14
)


def arrivals(jobs: list[tuple[int, int, int, str]]) -> list[Arrival]:
    return [
        Arrival(f"j{number:02}", T0 + MINUTE * at, gpus, MINUTE * length, home)
        for number, (at, gpus, length, home) in enumerate(jobs)
    ]


def by_minutes(queue: list[Arrival], capacity: int) -> dict[str, datetime]:
    """The same rule, minute by minute: the head of the queue starts as soon as it fits, nobody overtakes it."""
    starts = {a.job_id: a.submitted_at for a in queue if a.gpus > capacity or not a.duration}
    waiting = sorted((a for a in queue if a.job_id not in starts), key=lambda a: (a.submitted_at, a.job_id))
    running: list[tuple[datetime, int]] = []
    now = T0
    while waiting:
        running = [(end, gpus) for end, gpus in running if end > now]
        while waiting and waiting[0].submitted_at <= now:
            head = waiting[0]
            if head.gpus + sum(gpus for _, gpus in running) <= capacity:
                starts[head.job_id] = now
                running.append((now + head.duration, head.gpus))
            else:
                break
            waiting.pop(0)
        now += MINUTE
    return starts


@LIMITED
@given(JOBS)
def test_run_now_is_first_come_first_served_in_every_region(jobs: list[tuple[int, int, int, str]]) -> None:
    queue = arrivals(jobs)
    found = run_now_starts(queue, capacity={"aa": 8, "bb": 4})
    for home, capacity in (("aa", 8), ("bb", 4)):
        mine = [a for a in queue if a.home == home]
        assert {a.job_id: found[a.job_id] for a in mine} == by_minutes(mine, capacity)


@LIMITED
@given(JOBS)
def test_run_now_never_uses_more_gpus_than_there_are(jobs: list[tuple[int, int, int, str]]) -> None:
    queue = [a for a in arrivals(jobs) if a.gpus <= 8]
    found = run_now_starts(queue, capacity={"aa": 8, "bb": 8})
    assert len(found) == len(queue)
    for home in ("aa", "bb"):
        for moment in found.values():
            busy = [
                a.gpus for a in queue if a.home == home and found[a.job_id] <= moment < found[a.job_id] + a.duration
            ]
            assert sum(busy) <= 8
    assert all(found[a.job_id] >= a.submitted_at for a in queue)


def test_a_job_larger_than_its_home_starts_when_submitted_and_delays_nobody() -> None:
    large, small = Arrival("a", T0, 16, 60 * MINUTE, "aa"), Arrival("b", T0, 8, MINUTE, "aa")
    assert run_now_starts([large, small], capacity={"aa": 8}) == {"a": T0, "b": T0}


def test_a_job_of_no_work_waits_for_nobody_and_holds_nobody_up() -> None:
    running, nothing = Arrival("a", T0, 32, 10 * HOUR, "aa"), Arrival("lost", T0 + HOUR, 64, 0 * HOUR, "aa")
    small = Arrival("c", T0 + 2 * HOUR, 8, HOUR, "aa")
    found = run_now_starts([running, nothing, small], capacity={"aa": 64})
    assert found == {"a": T0, "lost": T0 + HOUR, "c": T0 + 2 * HOUR}


PIECES = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40), st.integers(0, 10**9)), min_size=1, max_size=12)


def intervals(pieces: list[tuple[int, int, int]]) -> list[EnergyInterval]:
    return [EnergyInterval(T0 + MINUTE * a, T0 + MINUTE * (a + n), mj, "aa") for a, n, mj in pieces]


@LIMITED
@given(PIECES)
def test_compacting_keeps_energy_lengths_and_what_happened_at_the_same_time(pieces: list[tuple[int, int, int]]) -> None:
    before = sorted(intervals(pieces))
    packed, length = compact(Course.of(before))
    after = list(packed)
    assert sum(i.energy_mj for i in after) == sum(i.energy_mj for i in before)
    assert [i.end - i.start for i in after] == [i.end - i.start for i in before]
    for old_a, new_a in zip(before, after, strict=True):
        for old_b, new_b in zip(before, after, strict=True):
            overlap = min(old_a.end, old_b.end) - max(old_a.start, old_b.start)
            if overlap >= timedelta(0):
                assert min(new_a.end, new_b.end) - max(new_a.start, new_b.start) == overlap
    busy = {minute for a, n, _ in pieces for minute in range(a, a + n)}
    assert length == MINUTE * len(busy), "only time in which nothing ran is cut out"
    assert after[0].start == before[0].start
    assert max(i.end for i in after) - after[0].start == length


@LIMITED
@given(PIECES)
def test_work_without_a_pause_stays_as_it_is(pieces: list[tuple[int, int, int]]) -> None:
    packed, length = compact(Course.of(intervals(pieces)))
    again, same = compact(packed)
    assert (list(again), same) == (list(packed), length)
    first = next(iter(packed)).start
    assert list(laid(packed, [("aa", first, first + length)])) == list(packed)
    assert len(compact(Course.of([]))[0]) == 0


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-50, 900), min_size=12, max_size=12),
    st.integers(0, 300),
    st.integers(1, 200),
    st.integers(1, 200),
)
def test_the_mean_start_is_the_mean_over_every_start(
    values: list[float], begin_min: int, length_min: int, slack_min: int
) -> None:
    slots = [Slot(T0 + i * HOUR, T0 + (i + 1) * HOUR, value) for i, value in enumerate(values)]
    grid = IntensitySeries(zone=Zone("AA"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)
    begin = T0 + begin_min * MINUTE
    one = EnergyInterval(begin, begin + length_min * MINUTE, MJ_PER_KWH, "aa")
    slack = slack_min * MINUTE
    found = mean_start_emissions(Course.of([one]), slack=slack, intensity=Integral(grid), pue=1.5)
    # Carbon is linear in the delay from one whole minute to the next, for all edges lie on whole minutes.
    each = [
        emission(replace(one, start=one.start + n * MINUTE, end=one.end + n * MINUTE), intensity=grid, pue=1.5).carbon_g
        for n in range(slack_min + 1)
    ]
    mean = sum((a + b) / 2 for a, b in itertools.pairwise(each)) / slack_min
    assert found.carbon_g == pytest.approx(mean, abs=1e-6)
    assert found.energy_kwh == pytest.approx(1.5)


def test_without_slack_the_mean_start_is_the_only_one() -> None:
    slots = [Slot(T0, T0 + HOUR, 100.0, True), Slot(T0 + HOUR, T0 + 2 * HOUR, 300.0)]
    grid = IntensitySeries(zone=Zone("AA"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)
    one = EnergyInterval(T0 + HOUR / 2, T0 + 3 * HOUR / 2, MJ_PER_KWH, "aa")
    none = mean_start_emissions(Course.of([one]), slack=timedelta(0), intensity=Integral(grid), pue=1.0)
    some = mean_start_emissions(Course.of([one]), slack=timedelta(microseconds=1), intensity=Integral(grid), pue=1.0)
    assert none == emission(one, intensity=grid, pue=1.0)
    assert some.carbon_g == pytest.approx(none.carbon_g)
    assert some.estimated_g == pytest.approx(none.estimated_g)
