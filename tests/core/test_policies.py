"""Simpler policies as baselines: each chooses what its rule says, within the job's window, on what it may know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Baseline, Counterfactual
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval, emissions
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.policies import POLICIES, Chance, lowest_window, threshold, wait_awhile
from one_job import laid, saved

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LIMITED = settings(max_examples=100, deadline=None)


def series(values: list[float], *, start: datetime = T0) -> IntensitySeries:
    slots = [Slot(start + HOUR * i, start + HOUR * (i + 1), value) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


CHANCES = st.builds(
    lambda ready, length, slack, suspendable: Chance(
        T0 + 24 * HOUR + MINUTE * ready,
        T0 + 24 * HOUR + MINUTE * (ready + length + slack),
        MINUTE * length,
        suspendable,
    ),
    st.integers(0, 200),
    st.integers(1, 600),
    st.integers(0, 600),
    st.booleans(),
)
GRIDS = st.lists(st.integers(0, 600).map(float), min_size=48, max_size=48).map(series)


@LIMITED
@given(st.sampled_from(sorted(POLICIES)), CHANCES, GRIDS)
def test_a_policy_does_all_of_the_work_within_the_window(name: Baseline, chance: Chance, grid: IntensitySeries) -> None:
    windows = POLICIES[name](chance, grid).windows
    assert sum((end - start for start, end in windows), timedelta(0)) == chance.length
    assert windows[0][0] >= chance.ready
    assert windows[-1][1] <= chance.due
    assert all(before[1] < after[0] for before, after in pairwise(windows))
    assert len(windows) == 1 or (name is Baseline.WAIT_AWHILE and chance.suspendable)


@LIMITED
@given(CHANCES, GRIDS)
def test_no_window_is_cleaner_than_the_lowest_and_no_slots_than_those_waited_for(
    chance: Chance, grid: IntensitySeries
) -> None:
    ((start, end),) = lowest_window(chance, grid).windows
    lowest = grid.mean(start, end)
    minutes = range((chance.latest - chance.ready) // MINUTE + 1)
    tried = [grid.mean(chance.ready + MINUTE * m, chance.ready + MINUTE * m + chance.length) for m in minutes]
    assert lowest == pytest.approx(min(tried), rel=1e-9, abs=1e-9)
    waited = [(grid.mean(a, b), b - a) for a, b in wait_awhile(chance, grid).windows]
    assert sum(mean * (span / chance.length) for mean, span in waited) <= lowest + 1e-6


def test_the_threshold_is_the_mean_of_what_is_known_of_the_week_before() -> None:
    grid = series([300.0] * 12 + [100.0] * 12 + [400.0, 250.0, 180.0, 90.0, 400.0, 400.0])
    ready = T0 + 24 * HOUR
    found = threshold(Chance(ready, ready + 6 * HOUR, HOUR, suspendable=False), grid)
    assert found.windows == ((ready + 2 * HOUR, ready + 3 * HOUR),), "200 g/kWh in the day before; it sees no further"
    assert found.grounds == "threshold 200 g/kWh, the mean of 1d before"
    dirty = series([100.0] * 24 + [400.0] * 6)
    late = threshold(Chance(ready, ready + 6 * HOUR, HOUR, suspendable=False), dirty)
    assert late.windows[0][0] == ready + 5 * HOUR, "the deadline demands it"
    with pytest.raises(ForecastersError):
        threshold(Chance(T0 + HOUR, T0 + 6 * HOUR, HOUR, suspendable=False), grid)


def test_work_laid_into_windows_is_the_same_work_to_the_millijoule() -> None:
    ran = [
        EnergyInterval(T0, T0 + HOUR, 1_000_001, "bb"),
        EnergyInterval(T0, T0 + 90 * MINUTE, 2_000_003, "bb"),
        EnergyInterval(T0 + 3 * HOUR, T0 + 4 * HOUR, 5, "bb"),
    ]
    windows = ((T0 + 5 * HOUR, T0 + 5 * HOUR + 20 * MINUTE), (T0 + 7 * HOUR, T0 + 9 * HOUR + 10 * MINUTE))
    moved = list(laid(Course.of(ran), [("aa", *window) for window in windows]))
    assert sum(one.energy_mj for one in moved) == 3_000_009
    assert all(any(a <= one.start and one.end <= b for a, b in windows) and one.region == "aa" for one in moved)
    assert max(one.end for one in moved) == windows[-1][1]


@LIMITED
@given(CHANCES, GRIDS, st.sampled_from(sorted(POLICIES)))
def test_a_job_that_ran_exactly_as_the_policy_says_saves_exactly_nothing(
    chance: Chance, grid: IntensitySeries, name: Baseline
) -> None:
    against = Counterfactual("aa", POLICIES[name](chance, grid).windows)
    ran = [
        EnergyInterval(start, end, ((end - start) // MINUTE) * MJ_PER_KWH // 60, "aa") for start, end in against.windows
    ]
    found = saved(
        useful=Course.of(ran),
        overhead=Course.of([]),
        against=against,
        intensity={"aa": Integral(grid)},
        pue={"aa": 1.2},
    )
    assert found.saved_g == found.time_shift_g == found.region_shift_g == 0.0
    whole = emissions(ran, intensity={"aa": grid}, pue={"aa": 1.2})
    assert found.baseline.carbon_g == pytest.approx(whole.carbon_g, rel=1e-9, abs=1e-6)
