"""The work of an elastic job on another number of GPUs: energy and time by its throughput curve, levers that add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Counterfactual
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval
from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.resizing import Size, Stint, as_long_as_on, gpu_hours, on_size, stints_of
from kilowait_scheduler.core.savings import Resized
from kilowait_scheduler.core.state import JobState, Run, RunPhase
from one_job import compact, saved

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
STINTS = (Stint(to_us(T0), 2, 1.0), Stint(to_us(T0 + 3 * HOUR), 4, 1.5))


def drawn(start: datetime, hours: float, kwh: float) -> EnergyInterval:
    return EnergyInterval(start, start + timedelta(hours=hours), round(kwh * MJ_PER_KWH), "aa")


# An hour on two GPUs, two hours on four of them after a pause; a kilowatt per GPU.
WORK = Course.of([drawn(T0, 1, 2), drawn(T0 + 3 * HOUR, 2, 8)])


def integral(values: list[float]) -> Integral:
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(values)]
    return Integral(IntensitySeries(zone=Zone("AA"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots))


def test_work_takes_the_energy_and_the_time_that_the_throughput_curve_says() -> None:
    small = Size(2, 1.0)
    there = on_size(WORK, STINTS, small)
    assert [one.kwh for one in there] == pytest.approx([2, 6])
    assert [one.start for one in there] == [T0, T0 + 3 * HOUR]
    through = as_long_as_on(WORK, STINTS, small)
    assert compact(through)[1] == 4 * HOUR, "an hour, and two hours at one and a half"
    assert through.kwh == pytest.approx(8)
    large = as_long_as_on(WORK, STINTS, Size(4, 1.5))
    assert compact(large)[1] == timedelta(hours=1 / 1.5 + 2)
    assert large.kwh == pytest.approx(2 * 4 / 1.5 / 2 + 8)
    assert gpu_hours(WORK, STINTS) == pytest.approx(1 * 2 + 2 * 4)


def test_a_run_whose_start_nobody_saw_is_a_stint_from_when_it_was_made() -> None:
    first = Run(
        n=1, region="aa", submission_id="a", phase=RunPhase.STOPPED, created_at=T0, started_at=T0 + HOUR, gpus=2
    )
    unseen = first.model_copy(update={"n": 2, "created_at": T0 + 3 * HOUR, "started_at": None, "gpus": 4})
    state = JobState(job_id="a", work_s=3600, suspendable=True, speeds={2: 1.0, 4: 1.5}, runs=(first, unseen))
    assert stints_of(state) == (Stint(to_us(T0 + HOUR), 2, 1.0), Stint(to_us(T0 + 3 * HOUR), 4, 1.5))


def test_what_only_more_gpus_cost_is_told_apart_from_what_clean_hours_saved() -> None:
    grid = {"aa": integral([400.0] * 3 + [100.0] * 2 + [400.0] * 10)}
    small = Size(2, 1.0)
    resized = Resized(on_size(WORK, STINTS, small), as_long_as_on(WORK, STINTS, small), on_size(WORK, STINTS, small))
    found = saved(
        useful=WORK, overhead=Course.of([]), against=Counterfactual("aa", ((T0, T0 + 4 * HOUR),)),
        intensity=grid, pue={"aa": 1.0}, resized=resized,
    )  # fmt: skip
    assert found.baseline.carbon_g == pytest.approx(2 * 3 * 400 + 2 * 100)
    assert found.actual.carbon_g == pytest.approx(2 * 400 + 8 * 100)
    assert found.time_shift_g == pytest.approx(2600 - (2 * 400 + 6 * 100))
    assert found.resizing_g == pytest.approx(-2 * 100)
    assert found.fixed_size_g == 0


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_levers_of_a_resized_job_add_up_to_its_saving(data: st.DataObject) -> None:
    days = st.lists(st.floats(-30, 900), min_size=24, max_size=24).map(lambda day: day * 5)
    grid = {name: integral(data.draw(days)) for name in ("aa", "bb")}
    # Twelve hours at most, which last six times as long on the fewest GPUs: within the grid's five days.
    span = st.tuples(st.integers(0, 500), st.integers(1, 90), st.integers(0, 10**12))
    spans = data.draw(st.lists(span, min_size=1, max_size=8))
    work = Course.of(
        EnergyInterval(T0 + timedelta(minutes=at), T0 + timedelta(minutes=at + length), mj, place)
        for at, length, mj in spans
        for place in (data.draw(st.sampled_from(("aa", "bb"))),)
    )
    speeds = {2: 1.0, 4: data.draw(st.floats(0.5, 3)), 8: data.draw(st.floats(0.5, 6))}
    turns = sorted(data.draw(st.lists(st.integers(0, 600), min_size=1, max_size=4, unique=True)))
    sizes = [data.draw(st.sampled_from(list(speeds))) for _ in turns]
    stints = [
        Stint(to_us(T0 + timedelta(minutes=turn)), gpus, speeds[gpus]) for turn, gpus in zip(turns, sizes, strict=True)
    ]
    base, best = Size(2, 1.0), Size(8, speeds[8])
    resized = Resized(on_size(work, stints, base), as_long_as_on(work, stints, base), on_size(work, stints, best))
    found = saved(
        useful=work, overhead=Course.of([]), against=Counterfactual("bb", ((T0, T0 + HOUR),)),
        intensity=grid, pue={"aa": 1.1, "bb": 1.4}, resized=resized,
    )  # fmt: skip
    levers = found.time_shift_g + found.region_shift_g + found.resizing_g + found.overheads_g
    assert levers == pytest.approx(found.saved_g, rel=1e-9, abs=1e-6)
    alike = on_size(work, [Stint(stint.since_us, 4, 1.5) for stint in stints], Size(4, 1.5))
    assert int(alike.energy_mj.sum()) == int(work.energy_mj.sum()), "on the GPUs that it had it takes what it took"
