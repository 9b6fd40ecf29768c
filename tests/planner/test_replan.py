"""Re-planning: whatever jobs and forecasts, windows hold the work, the GPUs suffice and deadlines come first."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.baseline import Arrival, run_now_starts
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Phase, Run, RunPhase
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.planner.knowledge import HORIZON, Decision, Knowledge, Rules
from kilowait_scheduler.planner.replan import replan
from moment import HOUR, MINUTE, RULES, T0, ZERO, knowledge, record


def running(job: JobRecord, *, place: str = "aa", since: datetime = T0, gpus: int | None = None) -> JobRecord:
    run = Run(
        n=1,
        region=place,
        submission_id=f"kw-{job.id}-1",
        phase=RunPhase.RUNNING,
        created_at=since,
        clear_submit=True,
        started_at=since,
        gpus=gpus or job.gpus,
    )
    state = job.state.model_copy(update={"runs": (run,), "phase": Phase.RUNNING})
    return job.model_copy(update={"state": state})


def standing(decision: Decision) -> JobRecord:
    """The job with the windows that were decided."""
    changes = {"windows": decision.windows, "phase": Phase.WAITING, "reason": decision.reason}
    return decision.record.model_copy(update={"state": decision.record.state.model_copy(update=changes)})


def keeps_running(decision: Decision, known: Knowledge) -> bool:
    """Whether its run goes on where it is; otherwise whatever comes next is a restart."""
    live, first = decision.record.state.live_run, decision.windows[0]
    if live is None or first.start > known.now:
        return False
    return (live.region, decision.record.gpus_of(live)) == (first.region, first.gpus)


def finish(decision: Decision, known: Knowledge) -> datetime:
    """When the job is done if it works through its windows and, where they are too short, goes on after the last."""
    state = decision.record.state
    work, restarts = timedelta(seconds=state.work_ahead_s(known.now)), restarts_of(decision, known)
    for index, window in enumerate(decision.windows):
        begin, speed = max(window.start, known.now), state.speeds[window.gpus]
        need = restarts[index] + work / speed
        if index == len(decision.windows) - 1 or window.end - begin >= need:
            return begin + need
        work -= max(window.end - begin - restarts[index], ZERO) * speed
    raise AssertionError("no windows")


def restarts_of(decision: Decision, known: Knowledge) -> list[timedelta]:
    """How much of each window goes into a restart."""
    state = decision.record.state
    resumes = timedelta(seconds=state.restart_s)
    first = resumes if state.runs and not keeps_running(decision, known) else ZERO
    if keeps_running(decision, known):
        first = timedelta(seconds=state.restart_ahead_s(known.now))
    return [first, *(resumes for _ in decision.windows[1:])]


def assert_sound(decisions: Sequence[Decision], known: Knowledge) -> None:
    for decision in decisions:
        job, windows = decision.record, decision.windows
        if not windows:
            continue
        assert {w.region for w in windows} <= set(job.regions)
        assert {w.gpus for w in windows} <= set(job.sizes)
        assert all(a.end <= b.start for a, b in pairwise(windows))
        assert windows[-1].end > known.now
        if not job.spec.suspendable:
            assert len(windows) == 1
        live = job.state.live_run
        if live is None:
            waits = [m for m in (job.spec.earliest, job.state.not_before) if m is not None]
            assert all(windows[0].start >= m for m in waits if m > known.now)
        # The windows hold the work; a first slot that has begun already is made up for by the reserve.
        begun = max(known.now - windows[0].start, ZERO)
        assert begun < RULES.slot or live is not None
        room = min(begun, RULES.slot) * job.state.speeds[windows[0].gpus]
        for window, restart in zip(windows, restarts_of(decision, known), strict=True):
            length = window.end - max(window.start, known.now) - restart
            room += length * job.state.speeds[window.gpus]
        need = timedelta(seconds=job.state.work_ahead_s(known.now))
        assert room >= need - timedelta(microseconds=10)
        done = finish(decision, known)
        if decision.late_by is None:
            assert done <= job.spec.due + timedelta(microseconds=10)
        else:
            assert done > job.spec.due
            assert abs(done - job.spec.due - decision.late_by) < RULES.slot
    for place in known.regions:
        capacity = min(place.capacity_gpus, known.gpus.get(place.name, place.capacity_gpus))
        mine = [w for d in decisions for w in d.windows if w.region == place.name]
        for moment in {max(w.start, known.now) for w in mine}:
            assert sum(w.gpus for w in mine if w.contains(moment)) <= capacity


VALUE = st.one_of(st.floats(0, 900), st.floats(-100, 0))
HOURS = st.one_of(
    st.none(),  # nothing is known of the zone
    st.floats(0, 900).map(lambda value: [value] * 60),  # a flat grid
    st.lists(VALUE, min_size=1, max_size=12),  # ends long before the deadlines
    st.lists(st.one_of(VALUE, st.none()), min_size=30, max_size=60).filter(lambda v: any(x is not None for x in v)),
)
NOWS = st.integers(0, 119).map(lambda minutes: T0 + MINUTE * minutes)


ELASTIC = (
    {"gpus": {"min": 2, "max": 8}, "throughput": {2: 1.0, 4: 1.9, 8: 3.4}},
    {"gpus": {"min": 1, "max": 4}, "throughput": {1: 10.0, 4: 40.0}},
    {"gpus": {"min": 2, "max": 6}, "throughput": {2: 1.0, 3: 1.1, 6: 3.3}},
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[JobRecord], Knowledge]:
    now = draw(NOWS)
    known = replace(
        knowledge(now=now, aa=draw(HOURS), bb=draw(HOURS)), down=draw(st.sampled_from([frozenset(), frozenset({"bb"})]))
    )
    if draw(st.booleans()):
        known = replace(known, gpus={"aa": draw(st.integers(1, 8))})
    jobs = []
    for number in range(draw(st.integers(1, 4))):
        work = MINUTE * draw(st.integers(1, 400))
        size: dict = draw(st.one_of(st.integers(1, 8).map(lambda gpus: {"gpus": gpus}), st.sampled_from(ELASTIC)))
        job = record(
            f"j{number}",
            now=now,
            work=work,
            within=work + MINUTE * draw(st.integers(0, 900)),
            **size,
            restart=draw(st.sampled_from([None, ZERO, 5 * MINUTE, 45 * MINUTE])),
            regions=draw(st.sampled_from([("aa",), ("aa", "bb"), ("bb", "aa"), ("bb",)])),
            priority=draw(st.sampled_from(["low", "normal", "high"])),
        )
        if draw(st.integers(0, 3)) == 0:
            spec = job.spec.model_copy(update={"earliest": now + MINUTE * draw(st.integers(-60, 300))})
            job = job.model_copy(update={"spec": spec})
        if draw(st.integers(0, 3)) == 0:
            since = now - MINUTE * draw(st.integers(0, 300))
            job = running(job, place=job.home, since=since, gpus=draw(st.sampled_from(job.sizes)))
        elif draw(st.integers(0, 3)) == 0:
            wait = now + MINUTE * draw(st.integers(-10, 100))
            job = job.model_copy(update={"state": job.state.model_copy(update={"not_before": wait})})
        jobs.append(job)
    return jobs, known


LIMITED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@LIMITED
@given(worlds())
def test_every_decision_is_sound_and_the_same_question_gets_the_same_answer(
    world: tuple[list[JobRecord], Knowledge],
) -> None:
    jobs, known = world
    decisions = replan(jobs, known=known, rules=RULES)
    assert [d.record for d in decisions] == jobs
    assert_sound(decisions, known)
    assert replan(jobs, known=known, rules=RULES) == decisions
    # Planned again with these windows standing, a little later, it is still sound.
    later = replace(known, now=known.now + 7 * MINUTE, gpus={"aa": 5})
    assert_sound(replan([standing(d) for d in decisions], known=later, rules=RULES), later)


@LIMITED
@given(worlds())
def test_nobody_misses_a_deadline_that_running_now_would_meet(world: tuple[list[JobRecord], Knowledge]) -> None:
    jobs, known = world
    assume(not any(job.state.live_run for job in jobs))
    capacity = {r.name: min(r.capacity_gpus, known.gpus.get(r.name, r.capacity_gpus)) for r in known.regions}
    jobs = [job for job in jobs if job.gpus <= capacity[job.home] and job.home not in known.down]
    ready = {
        job.id: max([known.now, *(m for m in (job.spec.earliest, job.state.not_before) if m is not None)])
        for job in jobs
    }
    length = {job.id: timedelta(seconds=job.state.work_s / job.state.speeds[job.gpus]) for job in jobs}
    arrivals = [Arrival(job.id, ready[job.id], job.gpus, length[job.id], job.home) for job in jobs]
    starts = run_now_starts(arrivals, capacity=capacity)
    ends = {job.id: starts[job.id] + length[job.id] for job in jobs}
    assume(jobs and all(ends[job.id] <= job.spec.due for job in jobs))
    if len(jobs) > 1:
        # Side by side, jobs meet at slot edges: give each the slots that rounding costs those before it.
        spare = RULES.slot * 2 * len(jobs)
        assume(all(ends[job.id] + spare <= job.spec.due for job in jobs))
    for decision in replan(jobs, known=known, rules=RULES):
        assert decision.late_by is None
        assert finish(decision, known) <= decision.record.spec.due


@pytest.mark.parametrize("minutes", [0, 1, 7, 14, 29])
@pytest.mark.parametrize("spare_s", [0, 1, 60, 901, 1799])
@pytest.mark.parametrize("restart", [None, ZERO, 5 * MINUTE])
def test_a_job_with_no_time_to_lose_starts_now_and_is_not_called_late(
    minutes: int, spare_s: int, restart: timedelta | None
) -> None:
    known = knowledge(now=T0 + MINUTE * minutes, aa=[500.0, 10.0, 500.0, 10.0] * 10)
    job = record(now=known.now, work=110 * MINUTE, within=110 * MINUTE + timedelta(seconds=spare_s), restart=restart)
    (decision,) = replan([job], known=known, rules=RULES)
    assert decision.late_by is None
    assert decision.reason is not Reason.CAPACITY_TAKEN
    assert finish(decision, known) <= job.spec.due
    assert decision.windows[-1].end <= job.spec.due


def test_a_resume_has_room_for_its_restart() -> None:
    """Two clean hours around a dirty one, and a quarter of an hour to spare: suspending would cost the deadline."""
    known = knowledge(aa=[10.0, 900.0, 10.0] + [900.0] * 20)
    rules = Rules(slot=timedelta(minutes=15), margin=0.0)
    job = record(work=2 * HOUR, within=3 * HOUR + 15 * MINUTE, restart=5 * MINUTE)
    (decision,) = replan([job], known=known, rules=rules)
    assert finish(decision, known) <= job.spec.due
    room = sum((w.end - w.start for w in decision.windows), ZERO)
    assert room >= 2 * HOUR + 5 * MINUTE * (len(decision.windows) - 1)


def test_a_suspension_that_is_only_just_worth_its_restart_is_not_made() -> None:
    """Split around the dirty hour it would emit 233 g per kW, the restart counted once; in one stretch 250."""
    known = knowledge(aa=[100.0, 200.0, 100.0, 100.0] + [900.0] * 20)
    job = record(within=4 * HOUR, restart=20 * MINUTE)
    windows = {
        weight: replan([job], known=known, rules=replace(RULES, margin=0.0, restart_weight=weight))[0].windows
        for weight in (1.0, RULES.restart_weight)
    }
    assert [len(each) for each in windows.values()] == [2, 1]


def test_without_any_forecast_a_plan_still_exists_and_says_so() -> None:
    (decision,) = replan([record(restart=ZERO)], known=knowledge(), rules=RULES)
    assert decision.windows == (Window(region="aa", start=T0, end=T0 + 2 * HOUR, gpus=4),)
    assert decision.reason is Reason.STARTS_NOW
    assert "unknown" in decision.detail


def test_a_zone_without_a_forecast_attracts_nobody() -> None:
    known = knowledge(aa=[400.0] * 40)
    (decision,) = replan([record(regions=("aa", "bb"))], known=known, rules=RULES)
    assert {w.region for w in decision.windows} == {"aa"}


def test_a_forecast_that_begins_later_is_used_from_then_on() -> None:
    known = knowledge(aa=[None, None, None, 300.0, 100.0, *[300.0] * 30])
    (decision,) = replan([record(work=HOUR)], known=known, rules=RULES)
    assert decision.windows[0].start == T0 + 4 * HOUR


def test_hours_beyond_the_forecast_attract_nobody() -> None:
    known = knowledge(aa=[300.0, 200.0, 250.0])
    (decision,) = replan([record(work=HOUR)], known=known, rules=RULES)
    assert decision.windows[0].start == T0 + HOUR


def test_negative_intensity_is_sought_out() -> None:
    known = knowledge(aa=[50.0] * 5 + [-20.0] * 2 + [50.0] * 30)
    (decision,) = replan([record()], known=known, rules=RULES)
    assert decision.windows[0].start == T0 + 5 * HOUR
    assert decision.carbon_g == pytest.approx(4 * 0.4 * 2 * 1.2 * -20)


def test_earliest_and_the_fence_are_honoured_to_the_minute() -> None:
    known = knowledge(aa=[100.0] * 48)
    early = record("e", work=HOUR, within=2 * HOUR, earliest=(T0 + 47 * MINUTE).isoformat())
    fenced = record("f", work=HOUR, within=24 * HOUR, gpus=2)
    fenced = fenced.model_copy(update={"state": fenced.state.model_copy(update={"not_before": T0 + 61 * MINUTE})})
    first, second = replan([early, fenced], known=known, rules=RULES)
    assert first.windows[0].start == T0 + 47 * MINUTE
    assert first.late_by is None
    assert second.windows[0].start >= T0 + 61 * MINUTE


def test_a_region_that_is_down_gets_nothing_new_unless_nothing_else_is_left() -> None:
    known = replace(knowledge(aa=[10.0] * 40, bb=[900.0] * 40), down=frozenset({"aa"}))
    both, only = replan([record("a", regions=("aa", "bb")), record("b")], known=known, rules=RULES)
    assert {w.region for w in both.windows} == {"bb"}
    assert {w.region for w in only.windows} == {"aa"}


@LIMITED
@given(st.lists(st.floats(0, 900), min_size=40, max_size=40), st.integers(0, 100))
def test_a_running_job_without_a_checkpoint_is_never_moved(values: list[float], minutes: int) -> None:
    known = knowledge(now=T0 + MINUTE * minutes, aa=values, bb=[1.0] * 40)
    job = running(record(work=5 * HOUR, regions=("aa", "bb")))
    rival = record("r", now=known.now, work=HOUR, gpus=8, within=2 * HOUR, priority="high")
    decision, _ = replan([job, rival], known=known, rules=RULES)
    assert [w.region for w in decision.windows] == ["aa"]
    assert decision.windows[0].start <= known.now
    assert finish(decision, known) == T0 + 5 * HOUR


@settings(LIMITED, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_a_standing_plan_outlives_small_changes_of_the_forecast(seed: int, count: int) -> None:
    rng = random.Random(seed)
    values = [rng.uniform(20, 900) for _ in range(48)]
    noise = [rng.uniform(-0.002, 0.002) for _ in range(48)]
    jobs = [record(f"j{n}", work=3 * HOUR, within=16 * HOUR, restart=ZERO, regions=("aa", "bb")) for n in range(count)]
    first = replan(jobs, known=knowledge(aa=values, bb=values[::-1]), rules=RULES)
    assume(all(d.windows[0].start > T0 + RULES.slot for d in first))
    shaken = knowledge(
        now=T0 + MINUTE,
        aa=[v * (1 + n) for v, n in zip(values, noise, strict=True)],
        bb=[v * (1 - n) for v, n in zip(values[::-1], noise, strict=True)],
    )
    again = replan([standing(d) for d in first], known=shaken, rules=RULES)
    sooner = sum((a.windows[-1].end - b.windows[-1].end for a, b in zip(first, again, strict=True)), ZERO)
    assert [d.windows for d in again] == [d.windows for d in first] or sooner >= RULES.slot


def test_a_standing_plan_gives_way_when_a_region_loses_gpus() -> None:
    known = knowledge(aa=[500.0] * 4 + [10.0] * 2 + [500.0] * 30)
    jobs = [record("a"), record("b")]
    first = replan(jobs, known=known, rules=RULES)
    assert first[0].windows == first[1].windows, "both fit into the clean hours"
    smaller = replace(known, gpus={"aa": 4})
    again = replan([standing(d) for d in first], known=smaller, rules=RULES)
    assert_sound(again, smaller)


def test_a_kept_plan_promises_its_own_carbon() -> None:
    known = knowledge(aa=[500.0] * 4 + [100.0] * 2 + [500.0] * 4 + [101.0] * 2 + [500.0] * 30)
    (first,) = replan([record()], known=known, rules=RULES)
    other = knowledge(aa=[500.0] * 4 + [100.5] * 2 + [500.0] * 4 + [100.0] * 2 + [500.0] * 30)
    (kept,) = replan([standing(first)], known=other, rules=RULES)
    assert kept.windows == first.windows
    assert kept.carbon_g == pytest.approx(4 * 0.4 * 2 * 1.2 * 100.5)


@LIMITED
@given(
    st.lists(st.floats(0, 900), min_size=40, max_size=40),
    st.integers(0, 59),
    st.integers(1, 300),
    st.integers(0, 240),
    st.sampled_from([None, ZERO]),
)
def test_a_late_job_runs_as_soon_as_possible_and_says_how_late(
    values: list[float], minutes: int, work_min: int, busy_min: int, restart: timedelta | None
) -> None:
    known = knowledge(now=T0 + MINUTE * minutes, aa=values)
    holder = running(record("h", work=MINUTE * (busy_min + minutes + 30), gpus=8))
    late = record("l", now=known.now, work=MINUTE * work_min, within=MINUTE * work_min, restart=restart)
    first, decision = replan([holder, late], known=known, rules=RULES)
    free_at = first.windows[-1].end
    assert decision.windows[0].start == free_at, "as soon as the GPUs are free"
    assert len(decision.windows) == 1
    assert decision.late_by == finish(decision, known) - late.spec.due
    assert decision.reason is Reason.CAPACITY_TAKEN
    assert "late by" in decision.detail


def test_a_running_job_that_may_end_late_is_not_told_that_others_hold_its_gpus() -> None:
    """It began late; nobody else is there."""
    job = running(record("r", work=2 * HOUR, within=HOUR + 50 * MINUTE))
    (decision,) = replan([job], known=knowledge(aa=[300.0] * 40), rules=RULES)
    assert decision.late_by is not None
    assert decision.reason is Reason.RUNNING_OVER
    assert decision.detail == "may end 10m after its deadline if its work takes as long as declared"


def test_a_job_that_cannot_run_anywhere_has_no_windows_and_a_reason() -> None:
    known = knowledge(aa=[100.0] * 40)
    huge, nowhere = record("h", gpus=64), record("n", regions=("cc",))
    first, second, third = replan([huge, nowhere, record("ok")], known=known, rules=RULES)
    assert (first.windows, first.reason) == ((), Reason.GANG_TOO_LARGE)
    assert (second.windows, second.reason) == ((), Reason.NO_ALLOWED_REGION)
    assert third.windows


def test_a_deadline_beyond_the_horizon_costs_neither_time_nor_memory() -> None:
    known = knowledge(aa=[100.0, 50.0] * 20)
    (decision,) = replan([record(within=timedelta(days=100_000))], known=known, rules=RULES)
    assert decision.windows
    assert decision.windows[-1].end <= T0 + HORIZON
    assert decision.late_by is None


@pytest.mark.parametrize(("work_h", "within_h", "gpus"), [(150, 82, 4), (300, 170, 4), (300, 92, 8)])
def test_a_long_elastic_job_makes_the_deadline_that_one_size_makes(work_h: int, within_h: int, gpus: int) -> None:
    grid = [200.0 + 37 * (hour % 7) for hour in range(200)]
    known = knowledge(gpus=gpus, aa=grid)
    job = record(work=HOUR * work_h, within=HOUR * within_h, restart=5 * MINUTE, **ELASTIC[0])
    (decision,) = replan([job], known=known, rules=Rules())
    assert decision.late_by is None
    assert finish(decision, known) <= job.spec.due


@pytest.mark.parametrize("restart", [None, 5 * MINUTE])
def test_an_odd_throughput_curve_costs_no_slot_of_time(restart: timedelta | None) -> None:
    odd: dict = {"gpus": {"min": 2, "max": 8}, "throughput": {2: 1530.0, 4: 2910.7, 8: 5220.3}}
    known = knowledge(gpus=2, aa=[100.0] + [300.0] * 60)
    tight = record("tight", work=2 * HOUR, within=130 * MINUTE, restart=restart, **odd)
    patient = record("patient", work=HOUR, gpus=2)
    decisions = replan([tight, patient], known=known, rules=Rules())
    assert [decision.late_by for decision in decisions] == [None, None]
    assert decisions[0].energy_kwh == pytest.approx(2 * 2 * 0.4)


def test_an_elastic_job_that_only_many_gpus_finish_in_time_is_given_them() -> None:
    job = record(work=2 * MINUTE, within=182 * MINUTE, **ELASTIC[0])
    job = job.model_copy(update={"spec": job.spec.model_copy(update={"earliest": T0 + 181 * MINUTE})})
    known = knowledge()
    (decision,) = replan([job], known=known, rules=RULES)
    assert [window.gpus for window in decision.windows] == [8]
    assert_sound([decision], known)
