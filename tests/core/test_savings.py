"""Savings: levers that add up, overheads that are not forgotten, and a placebo that saves nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Counterfactual
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval, emissions
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.state import Run, RunPhase
from one_job import saved, useful_and_overhead

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LIMITED = settings(max_examples=80, deadline=None)
PUE = {"aa": 1.1, "bb": 1.4}


def series(values: list[float]) -> IntensitySeries:
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


NOTHING = Course.of([])


def known(grids: dict[str, IntensitySeries]) -> dict[str, Integral]:
    return {name: Integral(grid) for name, grid in grids.items()}


def begun(start: datetime) -> Counterfactual:
    """The work without a pause from `start` on, in "aa"."""
    return Counterfactual("aa", ((start, start + HOUR),))


VALUES = st.lists(st.floats(-30, 900), min_size=24, max_size=24)
GRIDS = st.fixed_dictionaries({"aa": VALUES.map(series), "bb": VALUES.map(series)})
INTERVALS = st.lists(
    st.builds(
        lambda at, length, mj, region: EnergyInterval(T0 + MINUTE * at, T0 + MINUTE * (at + length), mj, region),
        st.integers(0, 600),
        st.integers(1, 60),
        st.integers(0, 10**12),
        st.sampled_from(("aa", "bb")),
    ),
    min_size=1,
    max_size=12,
)
RUNS = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 200), st.integers(0, 300), st.booleans()), max_size=4)


def runs(pieces: list[tuple[int, int, int, bool]]) -> list[Run]:
    found = []
    at = T0
    for n, (pause, length, stopping, lost) in enumerate(pieces, start=1):
        begin = at + MINUTE * pause
        stop, end = begin + MINUTE * length, begin + MINUTE * (length + stopping)
        found.append(
            Run(
                n=n,
                region="aa",
                submission_id=f"kw-1-{n}",
                phase=RunPhase.STOPPED,
                created_at=begin,
                started_at=begin,
                stop_wanted_at=None if lost else stop,
                kept_until=begin + MINUTE * (length // 2) if lost else stop,
                ended_at=end,
            )
        )
        at = end
    return found


@LIMITED
@given(INTERVALS, RUNS, st.floats(0, 7200))
def test_useful_and_overhead_are_all_of_the_energy_to_the_millijoule(
    intervals: list[EnergyInterval], pieces: list[tuple[int, int, int, bool]], restart_s: float
) -> None:
    useful, overhead = useful_and_overhead(Course.of(intervals), runs=runs(pieces), restart_s=restart_s)
    assert sum(i.energy_mj for i in (*useful, *overhead)) == sum(i.energy_mj for i in intervals)
    lengths = sum((i.end - i.start for i in (*useful, *overhead)), timedelta(0))
    assert lengths == sum((i.end - i.start for i in intervals), timedelta(0))


@LIMITED
@given(INTERVALS, RUNS, GRIDS, st.integers(0, 60))
def test_the_levers_add_up_to_what_was_saved(
    intervals: list[EnergyInterval],
    pieces: list[tuple[int, int, int, bool]],
    grids: dict[str, IntensitySeries],
    start_min: int,
) -> None:
    useful, overhead = useful_and_overhead(Course.of(intervals), runs=runs(pieces), restart_s=300)
    found = saved(
        useful=useful,
        overhead=overhead,
        against=begun(T0 + MINUTE * start_min),
        intensity=known(grids),
        pue=PUE,
    )
    levers = found.time_shift_g + found.region_shift_g + found.overheads_g
    size = abs(found.baseline.carbon_g) + abs(found.actual.carbon_g) + 1
    assert levers == pytest.approx(found.saved_g, abs=1e-11 * size * 1000)
    # All energy is accounted for, whichever line it stands in.
    actual = emissions(intervals, intensity=grids, pue=PUE)
    assert found.actual.carbon_g == pytest.approx(actual.carbon_g, rel=1e-6, abs=1e-3)


@LIMITED
@given(INTERVALS, GRIDS, st.randoms())
def test_a_job_that_ran_exactly_as_run_now_saves_exactly_nothing(
    intervals: list[EnergyInterval], grids: dict[str, IntensitySeries], rng: object
) -> None:
    at_home = [EnergyInterval(i.start, i.end, i.energy_mj, "aa") for i in intervals]
    without_pause = []
    at = T0
    for one in at_home:  # two devices side by side, one after the other without a pause, in any order
        length = one.end - one.start
        without_pause += [
            EnergyInterval(at, at + length, one.energy_mj, "aa"),
            EnergyInterval(at, at + length, 7, "aa"),
        ]
        at += length
    rng.shuffle(without_pause)  # type: ignore[attr-defined]
    found = saved(useful=Course.of(without_pause), overhead=NOTHING, against=begun(T0), intensity=known(grids), pue=PUE)
    assert found.saved_g == 0.0
    assert (found.time_shift_g, found.region_shift_g, found.overheads_g) == (0.0, 0.0, 0.0)


def test_work_lost_and_done_again_is_an_overhead_and_not_part_of_the_baseline() -> None:
    first = Run(
        n=1,
        region="aa",
        submission_id="kw-1-1",
        phase=RunPhase.LOST,
        created_at=T0,
        started_at=T0,
        ended_at=T0 + 3 * HOUR,
        kept_until=T0 + HOUR,
    )
    second = first.model_copy(
        update={"n": 2, "started_at": T0 + 4 * HOUR, "ended_at": T0 + 7 * HOUR, "kept_until": None}
    )
    ran = [
        EnergyInterval(T0, T0 + 3 * HOUR, 3 * MJ_PER_KWH, "aa"),
        EnergyInterval(T0 + 4 * HOUR, T0 + 7 * HOUR, 3 * MJ_PER_KWH, "aa"),
    ]
    useful, overhead = useful_and_overhead(Course.of(ran), runs=[first, second], restart_s=0)
    assert sum(i.kwh for i in useful) == pytest.approx(4)
    assert sum(i.kwh for i in overhead) == pytest.approx(2)
    alone, nothing = useful_and_overhead(Course.of(ran[:1]), runs=[first], restart_s=0)
    assert sum(i.kwh for i in alone) == pytest.approx(3), "nobody has done it again yet"
    assert len(nothing) == 0
    unseen = second.model_copy(update={"started_at": None, "phase": RunPhase.SUCCEEDED})
    useful, overhead = useful_and_overhead(Course.of(ran), runs=[first, unseen], restart_s=0)
    assert (useful.kwh, overhead.kwh) == pytest.approx((4, 2)), "nobody saw the second run, and it did the work again"


def test_work_after_a_stop_signal_that_ended_the_job_is_useful() -> None:
    ran = Course.of([EnergyInterval(T0, T0 + 5 * HOUR, 5 * MJ_PER_KWH, "aa")])
    (run,) = runs([(0, 60, 240, False)])
    for phase, lost_kwh in ((RunPhase.SUCCEEDED, 0), (RunPhase.STOPPED, 4)):
        _, overhead = useful_and_overhead(ran, runs=[run.model_copy(update={"phase": phase})], restart_s=0)
        assert overhead.kwh == pytest.approx(lost_kwh)


def test_the_interval_of_a_job_on_a_grid_without_carbon_is_that_of_its_meter() -> None:
    grid = known({"aa": series([500.0] * 4 + [0.0] * 20)})
    late = Course.of([EnergyInterval(T0 + 4 * HOUR, T0 + 5 * HOUR, MJ_PER_KWH, "aa", 5.0)])
    found = saved(useful=late, overhead=NOTHING, against=begun(T0), intensity=grid, pue=PUE)
    assert found.actual.carbon_g == 0.0
    assert found.uncertainty_g == pytest.approx(0.05 * found.saved_g)


def test_a_delay_into_dirtier_hours_is_a_negative_saving() -> None:
    grid = {"aa": series([100.0] * 12 + [400.0] * 12)}
    late = [EnergyInterval(T0 + 12 * HOUR, T0 + 13 * HOUR, MJ_PER_KWH, "aa")]
    found = saved(useful=Course.of(late), overhead=NOTHING, against=begun(T0), intensity=known(grid), pue={"aa": 1.0})
    assert found.saved_g == pytest.approx(-300)
    assert found.saved_pct == pytest.approx(-300)


def test_a_baseline_without_realised_values_is_an_error_and_not_a_figure() -> None:
    ran = [EnergyInterval(T0, T0 + HOUR, MJ_PER_KWH, "aa")]
    with pytest.raises(ForecastersError):
        saved(
            useful=Course.of(ran),
            overhead=NOTHING,
            against=begun(T0 - HOUR),
            intensity=known({"aa": series([100.0])}),
            pue={"aa": 1.0},
        )


def test_no_share_of_nothing_is_given_in_percent() -> None:
    grid = {"aa": series([0.0] * 24)}
    ran = [EnergyInterval(T0, T0 + HOUR, MJ_PER_KWH, "aa")]
    found = saved(useful=Course.of(ran), overhead=NOTHING, against=begun(T0), intensity=known(grid), pue={"aa": 1.0})
    assert found.saved_pct is None
